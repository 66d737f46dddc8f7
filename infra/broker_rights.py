"""What each login may do at a broker: Valkey's and Redis's access lists by key pattern, RabbitMQ's three patterns.

A front-end may put messages on the centre's lanes and take its own; it can read nobody else's, order no worker about,
and empty nothing. On a front-end that tenants share, a program of one tenant may ring that tenant's bell and no more.
The broker is no security boundary all the same: what travels between sites is sealed (`infra.envelope`).
"""

from __future__ import annotations

import re
from typing import NamedTuple

from infra import lanes
from infra.broker import unacked_keys

CENTER_LANES = (lanes.SETTLE, lanes.DETAILS, lanes.BOOKS, lanes.ADMIN)
PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")
"""A front-end or institution code that means itself in every pattern."""

_CONNECT = "+ping +select +client|setinfo +client|setname +client|id +multi +exec +discard +unwatch"
_SEND = "+lpush +llen"
_TAKE = f"{_SEND} +brpop +rpop +exists"
_ACKNOWLEDGE = "+watch +zadd +zrem +zrange +zrevrangebyscore +hset +hget +hdel"
_LOCK = "+set +get +del +watch"
"""Who puts back what a dead consumer had taken holds a lock meanwhile."""
_TELL = "&/0.celeryev* +publish"
"""A worker tells what it does to who listens; it can listen to nothing."""

CENTER = "~* &* +@all -@admin -flushall -flushdb -keys -swapdb"
"""Whatever the centre's workers and Flower do with queues and events; nothing that belongs to who keeps the broker."""


class NoPlainName(ValueError):
    """A code with a character that means something in a pattern: its login would reach more than its own."""

    def __init__(self, code: str) -> None:
        super().__init__(f"代码“{code}”只能由字母、数字、- 和 _ 组成，才能作为消息服务的登录名")


class RabbitRights(NamedTuple):
    """The three patterns of `rabbitmqctl set_permissions`."""

    configure: str
    write: str
    read: str


def frontend(code: str) -> str:
    """The rights of a front-end: for the centre's broker, and for its own, which may be the same one.

    Each pair of brackets is a right by itself: what it may do with a lane of the centre it may not do with its own,
    and the other way round. Raises NoPlainName.
    """
    _need_plain(code)
    own = (*_lanes_read_by(code), lanes.preprocess(code, "*"))
    messages, times, lock = unacked_keys(code)
    return " ".join(
        (
            f"resetkeys resetchannels -@all {_CONNECT} {_TELL}",
            f"(%W~{' %W~'.join((*CENTER_LANES, f'{lanes.SETTLE}.*'))} {_SEND})",
            f"(~{' ~'.join(own)} {_TAKE})",
            f"(~{messages} ~{times} {_ACKNOWLEDGE})",
            f"(~{lock} {_LOCK})",
        )
    )


def tenant(frontend_code: str, institution_code: str) -> str:
    """The rights of a program that belongs to one tenant of a front-end: to ring its bell. Raises NoPlainName."""
    _need_plain(frontend_code)
    _need_plain(institution_code)
    bell = lanes.preprocess(frontend_code, institution_code)
    return f"resetkeys resetchannels -@all {_CONNECT} (%W~{bell} {_SEND})"


def user_line(name: str, password: str, rights: str) -> str:
    """A user as a line of an access list file or of the server's configuration."""
    return f"user {name} on >{password} {rights}"


def rabbit_center() -> RabbitRights:
    """The centre's login declares every lane, and serves its own."""
    return RabbitRights(".*", ".*", ".*")


def rabbit_frontend(code: str) -> RabbitRights:
    """A front-end's login: it declares and reads what is its own, and writes to the centre's lanes, which the centre
    has declared. A lane's exchange has the lane's name. Raises NoPlainName."""
    _need_plain(code)
    own = "|".join((*map(re.escape, _lanes_read_by(code)), re.escape(lanes.preprocess(code, "")) + ".+"))
    told = "celeryev"  # where a worker tells what it does; it declares the exchange, and reads nothing from it
    to_center = "|".join((*CENTER_LANES, rf"{lanes.SETTLE}\..+"))
    return RabbitRights(rf"^({own}|{told})$", rf"^({own}|{to_center}|{told})$", rf"^({own})$")


def rabbit_tenant(frontend_code: str, institution_code: str) -> RabbitRights:
    """A tenant's program: it writes to its bell, which its front-end has declared. Raises NoPlainName."""
    _need_plain(frontend_code)
    _need_plain(institution_code)
    return RabbitRights("^$", f"^{re.escape(lanes.preprocess(frontend_code, institution_code))}$", "^$")


def _lanes_read_by(code: str) -> tuple[str, ...]:
    return lanes.results(code), lanes.uploads(code), f"idle.desk-{code}", f"idle.link-{code}"


def _need_plain(code: str) -> None:
    if not PLAIN_NAME.fullmatch(code):
        raise NoPlainName(code)
