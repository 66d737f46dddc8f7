"""`make up`: the sample city kept running, with its addresses, until Ctrl-C."""

from __future__ import annotations

import json

from rich.console import Console
from rich.table import Table

from city.commands.configuration import masked
from city.exchange import LOGINS
from city.plan import CityPlan
from city.sample.institutions import HOSPITAL_B, SHARED
from city.sample.morning import City, sample_city
from city.seed import FOLDER
from infra.clock import Clock
from infra.settings import Settings
from infra.supervisor import Supervisor


def up(settings: Settings) -> int:
    """Start the city, print where it listens, and keep it running until it is told to stop; the exit code."""
    console = Console(stderr=True)
    city = sample_city(claims=400)
    with Supervisor(settings.data_dir / FOLDER) as supervisor:
        plan = CityPlan(settings=settings, folder=settings.data_dir / FOLDER, city=city)
        with console.status("启动服务 Starting the services"):
            plan.prepare(supervisor)
            supervisor.start(*plan.services())
        print_addresses(plan, Console(soft_wrap=True))
        supervisor.wait()
        console.print("停止服务 Stopping the services")
    return 0


def print_addresses(plan: CityPlan, console: Console) -> None:
    """Where everything listens, and one line to try."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 3, 0, 0))
    for frontend in (HOSPITAL_B, SHARED):
        table.add_row(f"API ({frontend})", plan.api_url(frontend))
    table.add_row("front desk", f"{plan.api_url(SHARED)}/desk")
    table.add_row("API pages", f"{plan.api_url(HOSPITAL_B)}/docs")
    table.add_row("Flower", plan.flower_url)
    for name, url in plan.metrics_urls.items():
        table.add_row(f"metrics ({name})", url)
    table.add_row("DBF exchange", str(plan.exchange_dir))
    table.add_row("shared tables", masked(plan.exchange_database_url) or "beside the front-end's database")
    table.add_row("HIS logins", str(plan.secrets_dir / LOGINS))
    table.add_row("API keys", str(plan.secrets_dir / "api_keys.json"))
    for name, file in plan.operator_files().items():
        table.add_row(f"operator ({name})", f". {file}")
    table.add_row("logs", str(plan.folder / "logs"))
    console.print(table)
    console.print(f"\n{try_it(plan)}\n", highlight=False)
    console.print("Ctrl-C 停止 stops everything.")


def try_it(plan: CityPlan) -> str:
    """A curl line that hands in one claim and waits for its settlement."""
    return " \\\n  ".join(
        (
            f"curl -s {plan.api_url(HOSPITAL_B)}/v1/claims",
            f"-H 'Authorization: Bearer {plan.api_keys[_hospital(plan.city)]}'",
            "-H 'Content-Type: application/json' -H \"Idempotency-Key: try-$(date +%s)\" -H 'Prefer: wait=10'",
            f"-d '{json.dumps(_claim(plan.city), ensure_ascii=False)}'",
        )
    )


def _claim(city: City) -> dict[str, object]:
    """A claim of today for an insured person of the city: one drug, one box."""
    institution = next(one for one in city.institutions if one.institution_code == _hospital(city))
    person = next(one for one in city.people if one.entitled and one.scheme == "employee")
    own = next(own for own in institution.stock if own.of.is_drug)
    today = Clock().now().date().isoformat()
    price = f"{own.unit_price_1e4 // 10000}.{own.unit_price_1e4 // 100 % 100:02d}"
    return {
        "visit": {"citizen_id_no": person.citizen_id_no, "visit_type": "3", "visit_date": today},
        "lines": [
            {
                "line_no": 1,
                "charge_date": today,
                "local_item_code": own.local_item_code,
                "local_item_name": own.local_item_name,
                "unit_price": price,
                "quantity": "1",
                "line_amount": price,
            }
        ],
    }


def _hospital(city: City) -> str:
    return next(one.institution_code for one in city.institutions if one.frontend == HOSPITAL_B)
