"""The HIS of a hospital that speaks in files: it registers, writes charge lines, looks for the result of each visit.

It writes each row once. Whatever is done to the watcher of the folder, in the end every visit has one result, of what
was charged, and every row its mark.
"""

from __future__ import annotations

import random
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import date
from decimal import Decimal
from typing import Any

from producers.his import dbf
from producers.his.fields import layout
from tests.faults.clients import DAY, LINES
from tests.faults.town import PERSONS, Site

TODAY = date.fromisoformat(DAY)
READ_IN = 1


class Files(threading.Thread):
    """One hospital's HIS and the insurance client beside it."""

    def __init__(self, site: Site, dice: random.Random) -> None:
        super().__init__(name="files", daemon=True)
        assert site.exchange is not None
        self.charged: dict[str, Decimal] = {}
        """What each visit was charged, in yuan."""
        self.error: BaseException | None = None
        self._folder, self._code, self._dice = site.exchange, site.institution_code, dice
        self._over = threading.Event()

    def run(self) -> None:
        """Until `leave`."""
        try:
            while not self._over.wait(self._dice.uniform(0.3, 1.0)):
                self._charge()
        except BaseException as error:
            self.error = error

    def leave(self, *, within: float) -> None:
        """Finish the visit at hand. Raises what ended it before, if something did."""
        self._over.set()
        self.join(within)
        assert not self.is_alive(), "the HIS with files hangs"
        if self.error is not None:
            raise self.error

    def learn(self, *, until: float) -> list[str]:
        """Look until every visit has its result and every row its mark; what has not when the time is up."""
        while left := list(self._waiting()):
            if time.monotonic() > until:
                return left
            time.sleep(0.5)
        return []

    def wrong(self) -> Iterator[str]:
        """What a cashier would complain about."""
        for visit_no, totals in self._results().items():
            if totals != [self.charged[visit_no]]:
                yield f"{visit_no} was charged {self.charged[visit_no]} and its results are {totals}"

    # ── What it does ──

    def _charge(self) -> None:
        visit_no = f"H{len(self.charged) + 1:07d}"
        person = self._dice.choice(PERSONS)
        known: dict[str, Any] = {"JYDJH": visit_no, "YYBH": self._code, "GMSFHM": person, "RYRQ": TODAY}
        rows = []
        for number, (code, name, price, category, fen) in enumerate(self._dice.sample(LINES, 2), start=1):
            quantity = self._dice.randint(1, 9)
            row = {"XMXH": number, "XMBH": code, "XMMC": name, "FLDM": category, "FYRQ": TODAY, "DRBZ": 0}
            rows.append({
                **known, **row, "JG": Decimal(price), "MCYL": Decimal(quantity), "JE": Decimal(fen * quantity) / 100
            })  # fmt: skip
        self.charged[visit_no] = sum((row["JE"] for row in rows), Decimal(0))
        self._append("MZDJ", {**known, "JZLB": "3"})
        self._append("MZXM", *rows)

    def _append(self, kind: str, *rows: Mapping[str, Any]) -> None:
        """Add rows to the file of the day. A watcher that stands still may hold it for a while."""
        while True:
            try:
                dbf.append(self._folder / f"{kind}{TODAY:%m%d}.DBF", layout(kind), rows, day=TODAY)
                return
            except dbf.NotYet:
                time.sleep(0.5)

    # ── What it sees ──

    def _waiting(self) -> Iterator[str]:
        """Visits without their result, rows without their mark."""
        try:
            results = self._results()
            unread = [row["JYDJH"] for row in self._rows("MZXM") if int(row["DRBZ"]) != READ_IN]
        except dbf.NotYet:
            yield "a file is being written"
            return
        yield from (f"{visit_no} has no result" for visit_no in self.charged.keys() - results.keys())
        yield from (f"a row of {visit_no} was not read in" for visit_no in unread)

    def _results(self) -> dict[str, list[Decimal]]:
        """The totals of all results, by visit; those of the API's claims are not in the folder."""
        found: defaultdict[str, list[Decimal]] = defaultdict(list)
        for row in self._rows("MZJS"):
            if row["JYDJH"] in self.charged:
                found[row["JYDJH"]].append(row["ZYZJE"])
        return found

    def _rows(self, kind: str) -> Iterator[Mapping[str, Any]]:
        for path in sorted(self._folder.glob(f"{kind}*.DBF")):
            yield from dbf.read(path).rows()
