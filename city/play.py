"""`jiesuan play`: sample claims for a city that runs already (`make up`), handed in through its API."""

from __future__ import annotations

import json
import sys
from collections import Counter
from contextlib import ExitStack
from datetime import datetime

from city.hospitals import ApiHospitals, is_as_expected
from city.sample.institutions import HOSPITAL_B
from city.sample.morning import sample_city
from city.seed import API_KEYS, FOLDER
from infra.settings import Settings
from producers.client import JiesuanClient

CLAIMS = 400
"""Of which one front-end's share is played: this one's, or the large hospital's."""


def play(settings: Settings) -> int:
    """Hand in one batch of claims, wait for their answers, say what became of them; 0 if all ended as they should."""
    now = settings.time.now()
    city = sample_city(claims=CLAIMS, day=now.date())
    keys = json.loads((settings.data_dir / FOLDER / "secrets" / API_KEYS).read_text(encoding="ascii"))
    served = [one for one in city.institutions if one.frontend == (settings.frontend or HOSPITAL_B)]
    arrivals = [arrival for arrival in city.arrivals if arrival.claim.institution in served]
    url = f"http://{settings.api_host}:{settings.api_port}"
    with ExitStack() as stack:
        clients = {
            one.institution_code: stack.enter_context(JiesuanClient(url, keys[one.institution_code])) for one in served
        }
        cashiers = ApiHospitals(clients, batch=_batch(now))
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
