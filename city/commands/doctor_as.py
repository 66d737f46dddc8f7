"""`jiesuan doctor --as CLASS`: whether this machine is large enough for the front-end server of such an institution."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Column, Table

from city.commands import DONE, REFUSED, Stop
from city.sizing.hardware import SHARED, Advice, Configuration, advice, configuration
from city.sizing.needs import BUSIEST_HOUR, PEAK_DAY, TENANTS, Needs, measured, needs
from domain.institution_class import CLASSES, Size
from infra.settings import Settings

CHOICES = (*Size, SHARED)


def examine(wanted: str, *, civil_servants: bool, as_json: bool) -> int:
    """Print the advice, the need and this machine; the exit code says whether it falls short. Raises Stop."""
    if wanted not in CHOICES:
        raise Stop(f"没有 {wanted} 这一类：{'、'.join(CHOICES)}（{'、'.join(_name(each) for each in CHOICES)}）")
    lines, remark = advice(wanted, civil_servants=civil_servants)
    need = needs(None if wanted == SHARED else Size(wanted))
    here = this_machine(Settings().data_dir)
    short = shortfalls(here, lines, need)
    if as_json:
        told = {
            "as": wanted,
            "specification": [asdict(line) for line in lines],
            "remark": remark,
            "need": asdict(need),
            "measured": measured(),
            "this_machine": here._asdict(),
            "shortfalls": short,
        }
        print(json.dumps(told, ensure_ascii=False, indent=2))
    else:
        console = Console()
        _show_specification(console, wanted, lines, remark)
        _show_need(console, need)
        _show_machine(console, here, short)
    return REFUSED if short else DONE


def this_machine(folder: Path) -> Configuration:
    """Its processors, memory and the room on the disk where the data folder is."""
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20
    return Configuration(len(os.sched_getaffinity(0)), memory, shutil.disk_usage(there).total // 10**9)


def shortfalls(here: Configuration, lines: list[Advice], need: Needs) -> list[str]:
    """Where the machine is below the printed minimum, or below what we measured; in the words of the table."""
    least = configuration({line.item: line.minimum for line in lines})
    found = []
    for name, unit, has, printed, ours in (
        ("CPU", "个", here.processors, least.processors, need.cores),
        ("内存", "MiB", here.memory_mib, least.memory_mib, need.memory_mib),
        ("硬盘", "GB", here.disk_gb, least.disk_gb, need.disk_gb),
    ):
        # A machine sold as 2G reports a little less: what firmware and kernel keep for themselves.
        if has < max(printed * 0.9, ours):
            found.append(f"{name} {has:,} {unit}：规范最低 {printed:,}，按实测需要 {ours:,}")
    return found


def _show_specification(console: Console, wanted: str, lines: list[Advice], remark: str) -> None:
    columns = [Column(heading, overflow="fold") for heading in ("规范 3.2、3.3", "建议配置", "最低配置")]
    table = Table(*columns, title=_name(wanted), title_justify="left", box=None)
    for line in lines:
        table.add_row(line.item_zh, line.recommended, line.minimum)
    console.print(table)
    for line in lines:
        if line.note:
            console.print(f"注：{line.item_zh}，{line.note}")
    if remark:
        console.print(f"备注：{remark}")


def _show_need(console: Console, need: Needs) -> None:
    figures = measured()
    console.print(
        f"\n业务量：日均门诊 {need.visits_a_day:,} 人次，年出院 {need.stays_a_year:,} 人次；"
        f"高峰日为均值的 {PEAK_DAY} 倍，最忙一小时占 {BUSIEST_HOUR:.1%}：每秒 {need.claims_a_second} 笔"
    )
    console.print(
        f"按实测（{figures['measured_on']}，{figures['machine']}）：每核每秒 {need.claims_a_second_and_core:,} 笔；"
        f"CPU {need.cores} 个，内存 {need.memory_mib:,} MiB，硬盘 {need.disk_gb:,} GB（保存两年）"
    )
    console.print(
        f"线路：高峰 {need.link_bits_a_second_peak / 1e3:,.1f} kbit/s；"
        f"全天 {need.link_bytes_a_day / 1e6:,.1f} MB，其中错峰上传的明细 {need.detail_bytes_a_day / 1e6:,.1f} MB，"
        f"连接空闲也有的 {need.idle_bytes_a_day / 1e6:,.1f} MB"
    )


def _show_machine(console: Console, here: Configuration, short: list[str]) -> None:
    console.print(f"\n本机：CPU {here.processors} 个，内存 {here.memory_mib:,} MiB，硬盘 {here.disk_gb:,} GB")
    if short:
        console.print("[red]不足[/]  " + "；".join(short))
    else:
        console.print("[green]够用[/]  本机达到规范的最低配置，也达到按实测的需要")


def _name(wanted: str) -> str:
    return f"共用前置机（{TENANTS} 家以内）" if wanted == SHARED else CLASSES[Size(wanted)].name_zh
