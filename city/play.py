"""`jiesuan play`: sample claims for a city that runs already (`make up`), handed in through its API."""

from __future__ import annotations

import json
import sys
from collections import Counter
from datetime import datetime

from city.hospitals import ApiHospitals, is_as_expected
from city.sample.institutions import HOSPITAL_B
from city.sample.morning import sample_city
from city.up import FOLDER
from infra.settings import Settings
from producers.client import JiesuanClient

CLAIMS = 400
"""Of which the large hospital's share is played: about a hundred."""


def play(settings: Settings) -> int:
    """Hand in one batch of claims, wait for their answers, say what became of them; 0 if all ended as they should."""
    now = settings.time.now()
    city = sample_city(claims=CLAIMS, day=now.date())
    keys = json.loads((settings.data_dir / FOLDER / "secrets" / "api_keys.json").read_text(encoding="ascii"))
    hospital = next(institution for institution in city.institutions if institution.frontend == HOSPITAL_B)
    arrivals = [arrival for arrival in city.arrivals if arrival.claim.institution == hospital]
    with JiesuanClient(f"http://{settings.api_host}:{settings.api_port}", keys[hospital.institution_code]) as client:
        cashiers = ApiHospitals({hospital.institution_code: client}, batch=_batch(now))
        try:
            cashiers.hand_in(arrivals)
            told = cashiers.told_in_the_end()
        finally:
            cashiers.close()
    ends = Counter(one.state or one.problem for one in told)
    print(json.dumps({"handed_in": len(told), **ends}))
    wrong = sum(not is_as_expected(one) for one in told)
    if wrong:
        print(f"jiesuan: {wrong} 笔的结果不符", file=sys.stderr)
    return 1 if wrong else 0


def _batch(now: datetime) -> str:
    return f"play-{now:%Y%m%d%H%M%S}"
