"""The doorbell inside a site: "this institution has work". The rows are the work; a lost ring only costs time."""

from __future__ import annotations

import logging

from infra import lanes
from infra.broker import BrokerAway, Post

log = logging.getLogger("doorbell")


class Doorbell:
    """Rings the desk for an institution, unless the bell hangs there already."""

    def __init__(self, post: Post, frontend: str) -> None:
        self._post, self._frontend = post, frontend

    def ring(self, institution_code: str) -> bool:
        """Ring once; False when the broker is away (the sweep rings later).

        A bell that still hangs in the queue is enough: the desk reads the rows after it has taken the bell, so it
        sees whatever was committed before we looked.
        """
        queue = lanes.preprocess(self._frontend, institution_code)
        try:
            if self._post.waiting(queue) == 0:
                self._post.send(
                    lanes.CLAIMS_PREPROCESS,
                    queue=queue,
                    shown={"institution": institution_code},
                    institution=institution_code,
                )
        except BrokerAway as error:
            log.warning("doorbell_silent", extra={"institution": institution_code, "error": type(error).__name__})
            return False
        return True
