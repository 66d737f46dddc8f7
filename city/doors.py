"""Every door of a morning at once: who hands in where, and what all of them were told."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime

from city.hospitals import ApiHospitals, FileHospital, Told
from city.plan import CityPlan
from city.sample.morning import DAY, Arrival
from city.table_hospital import TableHospital
from producers.client import JiesuanClient


@dataclass(slots=True)
class Doors:
    """The hospitals at the exchange folders, those at the shared tables, and the cashiers at the API."""

    files: Mapping[str, FileHospital]
    tables: Mapping[str, TableHospital]
    cashiers: ApiHospitals
    _on_files: dict[str, list[Arrival]] = field(default_factory=lambda: defaultdict(list))

    def hand_in(self, arrivals: Sequence[Arrival]) -> None:
        """Each to the door it comes through. What goes into files or tables waits there for the next turn."""
        at_desks = []
        for arrival in arrivals:
            code = arrival.claim.institution.institution_code
            match arrival.claim.door:
                case "dbf":
                    self._on_files[code].append(arrival)
                case "tables":
                    self.tables[code].hand_in([arrival])
                case _:
                    at_desks.append(arrival)
        self.cashiers.hand_in(at_desks)

    def turn(self, *, at: datetime) -> None:
        """What a HIS does every so often: write its files, look into its tables."""
        for code, hospital in self.files.items():
            hospital.hand_in(self._on_files.pop(code, []), at=at)
        for hospital_ in self.tables.values():
            hospital_.turn()

    def nothing_waits(self) -> bool:
        """Whether every file is written."""
        return not self._on_files

    def unanswered(self) -> int:
        """How many patients at the shared tables have neither a settlement nor a verdict."""
        return sum(hospital.unanswered() for hospital in self.tables.values())

    def told(self) -> tuple[Told, ...]:
        """What every door said of everything handed in."""
        return (
            *(one for hospital in self.files.values() for one in hospital.told()),
            *self.cashiers.told(),
            *(one for hospital in self.tables.values() for one in hospital.told()),
        )


@contextmanager
def open_doors(plan: CityPlan) -> Iterator[Doors]:
    """The doors of a city whose services run, until the block ends."""
    files, tables, clients = {}, {}, {}
    at_tables = {one.institution.institution_code for one in plan.city.claims if one.door == "tables"}
    with ExitStack() as stack:
        for institution in plan.city.institutions:
            code = institution.institution_code
            if institution.door == "dbf":
                files[code] = FileHospital(plan.exchange_dir / code, DAY)
                continue
            clients[code] = JiesuanClient(plan.api_url(institution.frontend), plan.api_keys[code])
            stack.callback(clients[code].close)
            if code in at_tables:
                tables[code] = TableHospital(clients[code], plan.his_address(code))
                stack.callback(tables[code].close)
        cashiers = ApiHospitals(clients)
        stack.callback(cashiers.close)
        yield Doors(files, tables, cashiers)
