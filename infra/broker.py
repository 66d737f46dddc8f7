"""The Celery applications: one for a front-end, one for the centre, with settings that were each learnt the hard way.

The database is the truth and a message is a doorbell or a repeatable envelope, so nothing here is asked to be
reliable, only bounded: no call hangs, nothing is retried for ever, nothing is evicted in silence.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import msgpack
from amqp.exceptions import ChannelError
from celery import Celery, Task
from kombu import serialization
from kombu.exceptions import OperationalError

from infra.codec import UnreadableMessage
from infra.quarantine import set_aside
from infra.transport import install as install_transport

CONTENT_TYPE = "application/x-msgpack"
TASK_TIME_LIMIT = 60
VISIBILITY_TIMEOUT = 5 * TASK_TIME_LIMIT
TRY_ONCE_MORE = {"max_retries": 1, "interval_start": 0, "interval_step": 0.2, "interval_max": 0.5}

FAR_POLL_SECONDS = 3
"""How long one question of a far worker for messages waits at its broker: an answer comes at once all the same."""

BrokerAway = (OperationalError, ConnectionError, TimeoutError)
"""What sending raises when the broker is away, full or silent; the row stays where it is and is sent again."""


def _unpack(body: Any) -> Any:
    return msgpack.unpackb(bytes(body))


def register_codec() -> None:
    """Make msgpack the content of our tasks, on our transport; pickle and yaml cannot be read at all."""
    install_transport()
    registry: Any = serialization.registry  # type: ignore[attr-defined]  # missing in kombu's stubs
    serialization.register("msgpack", msgpack.packb, _unpack, CONTENT_TYPE, "binary")
    for name in ("pickle", "yaml"):
        if name in registry.name_to_type:
            serialization.unregister(name)


class QuietTask(Task[Any, Any]):
    """A task whose arguments never show: not in Flower, not in headers, not when it is sent again."""

    abstract = True
    acks_late = True
    ignore_result = True
    typing = True
    __header__: Any  # Celery makes it of the task's own signature; its stubs leave it out

    def apply_async(self, *args: Any, **options: Any) -> Any:
        """Send it with nothing to read but what the sender chose to show."""
        options["argsrepr"] = "()"
        options.setdefault("kwargsrepr", "{}")
        return super().apply_async(*args, **options)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Do the work. Raises UnreadableMessage, which quotes nothing, when the arguments are not the task's own."""
        try:
            self.__header__(*args, **kwargs)
        except TypeError:
            raise UnreadableMessage("arguments that are not the task's") from None
        return self.run(*args, **kwargs)

    def on_failure(self, exc: Exception, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        """A message that no release of ours can have written is set aside; the rows send everything else again."""
        if isinstance(exc, UnreadableMessage):
            set_aside(str(self.name), type(exc).__name__, msgpack.packb([list(args), kwargs], default=repr))


def build_app(name: str, broker_url: str, *, member: str = "", is_far: bool = False) -> Celery:
    """A Celery application on the broker.

    `member` is the front-end it belongs to: what it has not acknowledged lies apart from everybody else's, and nobody
    orders its workers about by a broadcast. Its login need be good for nothing more (`infra.broker_rights`). One that
    `is_far` from its broker leaves no note there of what it has taken: what dies with it, its rows ask for again.
    """
    register_codec()
    app = Celery(name, broker=broker_url, task_cls="infra.broker:QuietTask", set_as_current=False)
    app.conf.update(
        accept_content=[CONTENT_TYPE],
        task_serializer="msgpack",
        result_serializer="msgpack",
        event_serializer="json",
        result_backend=None,
        task_ignore_result=True,
        task_acks_late=True,
        task_acks_on_failure=True,
        task_acks_on_timeout=True,
        task_reject_on_worker_lost=False,
        task_time_limit=TASK_TIME_LIMIT,
        task_soft_time_limit=TASK_TIME_LIMIT - 15,
        task_create_missing_queues=True,
        task_default_queue="admin",
        task_create_missing_queue_type=_queue_type(broker_url),
        task_store_errors_even_if_ignored=False,
        task_track_started=True,
        worker_send_task_events=True,
        worker_pool="solo",
        worker_prefetch_multiplier=1,
        worker_eta_task_limit=100,
        worker_enable_remote_control=not member,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_soft_shutdown_timeout=10,
        worker_consumer="infra.worker:QuarantiningConsumer",
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_channel_error_retry=True,
        broker_pool_limit=4,
        task_publish_retry=True,
        task_publish_retry_policy=TRY_ONCE_MORE,
        timezone="Asia/Shanghai",
        enable_utc=True,
        broker_transport_options=transport_options(broker_url, name, member, is_far=is_far),
    )
    return app


def _queue_type(broker_url: str) -> str | None:
    """On RabbitMQ a lane is a quorum queue, which survives the loss of a node; Redis has lists."""
    return "quorum" if broker_url.startswith(("amqp", "pyamqp")) else None


def unacked_keys(member: str = "") -> tuple[str, str, str]:
    """Where Redis keeps what a consumer has taken and not acknowledged: the messages, their times, who restores."""
    end = f".{member}" if member else ""
    return f"unacked{end}", f"unacked_index{end}", f"unacked_mutex{end}"


def client_name(name: str, member: str = "") -> str:
    """What a Redis or Valkey server calls the connections of an application (`CLIENT LIST`)."""
    return f"{name}.{member}" if member else name


def transport_options(broker_url: str, name: str, member: str = "", *, is_far: bool = False) -> dict[str, Any]:
    """Bounded waits on Redis; confirmed publishing on RabbitMQ; whoever finds no broker tries once more and says so.

    On Redis kombu copies each message a consumer has taken to the broker, and looks every few seconds for copies nobody
    works on any more: for one that `is_far` this is most of what the link carries, and it does without.
    """
    if not broker_url.startswith(("redis", "rediss", "valkey")):
        return {"confirm_publish": True, **TRY_ONCE_MORE}
    unacked, unacked_index, unacked_mutex = unacked_keys(member)
    return {
        **TRY_ONCE_MORE,
        **({"ack_emulation": False, "polling_interval": FAR_POLL_SECONDS} if is_far else {}),
        "client_name": client_name(name, member),
        "unacked_key": unacked,
        "unacked_index_key": unacked_index,
        "unacked_mutex_key": unacked_mutex,
        "visibility_timeout": VISIBILITY_TIMEOUT,
        "unacked_restore_interval": 5,
        "unacked_restore_throttle": 1,
        "unacked_mutex_expire": 10,
        "socket_timeout": 5,
        "socket_connect_timeout": 3,
        "socket_keepalive": True,
        "health_check_interval": 25,
        "retry_on_timeout": False,
        "priority_steps": [0],
        "queue_order_strategy": "round_robin",
    }


class Post:
    """Sends messages by name, over one connection kept open; what it shows is all that anybody reads of them."""

    def __init__(self, app: Celery, *, is_guest: bool = False) -> None:
        """A guest writes to queues of another site, which that site has made; it is not allowed to make them."""
        self._app = app
        self._declare: tuple[Any, ...] | None = () if is_guest else None

    def send(self, task: str, *, queue: str, shown: Mapping[str, object], **kwargs: Any) -> None:
        """Put one task on a queue. Raises one of BrokerAway within a few seconds."""
        with self._app.producer_or_acquire() as producer, _away_is_one_error(producer.connection):
            self._app.send_task(
                task,
                kwargs=kwargs,
                queue=queue,
                exchange=queue,  # RabbitMQ's right to write is of exchanges: each lane has one of its name
                routing_key=queue,
                task_id=str(uuid4()),
                argsrepr="()",
                kwargsrepr=repr(dict(shown)),
                producer=producer,
                declare=self._declare,
                ignore_result=True,
            )

    def waiting(self, queue: str) -> int:
        """How many messages wait on a queue; none where nobody has made the queue yet. Raises one of BrokerAway."""
        with self._app.connection_or_acquire() as connection, _away_is_one_error(connection):
            client = getattr(connection.default_channel, "client", None)
            if client is not None:
                return int(client.llen(queue))
            try:
                with connection.channel() as channel:  # asking for a queue that is not there closes the channel
                    return int(channel.queue_declare(queue, passive=True).message_count)
            except ChannelError:
                return 0


@contextmanager
def _away_is_one_error(connection: Any) -> Iterator[None]:
    """Whatever a transport raises when its broker is away, full or silent leaves as one of BrokerAway."""
    try:
        yield
    except (*connection.connection_errors, *connection.channel_errors) as error:
        raise OperationalError(type(error).__name__) from error
