"""The guards: what keeps a promise, how to take it away, and the tests that have to notice."""

from __future__ import annotations

from dataclasses import dataclass

UNIT = "tests/unit/"
REAL = "tests/integration/"
KILLED = f"{REAL}test_his_tables_file.py::test_killed_two_hundred_times_it_imports_and_hands_out_everything_once"


@dataclass(frozen=True, slots=True)
class Guard:
    """A piece of code that keeps a promise. `text` stands exactly once in the file, and becomes `without`."""

    name: str
    promise: str
    file: str
    text: str
    without: str
    tests: tuple[str, ...]

    @property
    def is_quick(self) -> bool:
        """Whether its tests need no server."""
        return all(test.startswith(UNIT) for test in self.tests)


LOST = "Nothing accepted is lost"
TWICE = "Nothing is paid twice"
FEN = "Every fen is accounted for"
DETAIL = "The detail is the detail"
CONTRA = "Corrections are contra documents"
TENANTS = "No tenant starves or sees another"
SEALED = "The broker is no security boundary"
QUIET = "No person in a log"
FLOOD = "Sending again is no flood"

GUARDS = (
    Guard(
        "a commit waits for the disk", LOST, "infra/database.py",
        '"synchronous=FULL"', '"synchronous=OFF"',
        (f"{UNIT}test_workers_intake.py", f"{UNIT}test_infra_database.py"),
    ),
    Guard(
        "acknowledged after the work (setting)", LOST, "infra/broker.py",
        "task_acks_late=True", "task_acks_late=False",
        (f"{UNIT}test_infra_broker.py",),
    ),
    Guard(
        "acknowledged after the work (task)", LOST, "infra/broker.py",
        "    acks_late = True\n", "    acks_late = False\n",
        (f"{UNIT}test_infra_broker.py",),
    ),
    Guard(
        "the desk sweeps", LOST, "workers/tasks.py",
        'timers=[Timer("sweep", settings.sweep_every_seconds, swept)]', "timers=[]",
        (f"{REAL}test_frontend_sweep.py",),
    ),
    Guard(
        "the sweep rings lost bells", LOST, "workers/outbox.py",
        "            self.doorbell.ring(institution_code)\n", "            pass\n",
        (f"{UNIT}test_workers_outbox.py",),
    ),
    Guard(
        "the unreadable is set aside before it is let go", LOST, "infra/worker.py",
        "        if set_aside(queue, reason, body if isinstance(body, bytes) else str(body).encode()):\n",
        "        if True:\n",
        (f"{UNIT}test_infra_worker.py",),
    ),
    Guard(
        "a message that breaks Celery breaks no worker", LOST, "infra/worker.py",
        "            except Exception as error:\n                self._set_aside(",
        "            except ZeroDivisionError as error:\n                self._set_aside(",
        (f"{UNIT}test_infra_worker.py",),
    ),
    Guard(
        "no verdict is lost between two desks", LOST, "workers/desk.py",
        'bindparam("ids", expanding=True)), claim.c.state == ClaimState.ACCEPTED)',
        'bindparam("ids", expanding=True)))',
        (f"{UNIT}test_workers_desk.py",),
    ),
    Guard(
        "one claim per idempotency key (database)", TWICE, "workers/migrations/versions/0001_first_schema.py",
        '        sa.UniqueConstraint("institution_code", "idempotency_key", name="uq_claim_idempotency"),\n', "",
        (f"{UNIT}test_workers_schema.py",),
    ),
    Guard(
        "one claim per visit and batch (database)", TWICE, "workers/migrations/versions/0001_first_schema.py",
        '        sa.UniqueConstraint("visit_no", "charge_batch_no", name="uq_claim_key"),\n', "",
        (f"{UNIT}test_workers_schema.py",),
    ),
    Guard(
        "a repeated key is looked up", TWICE, "workers/intake.py",
        "        taken = self._taken(submission)\n", "        taken = None\n",
        (f"{UNIT}test_workers_intake.py",),
    ),
    Guard(
        "the digest of a repeat is compared (door)", TWICE, "workers/intake.py",
        "same.content_digest == digest and ", "",
        (f"{UNIT}test_workers_intake.py",),
    ),
    Guard(
        "the content of a repeat is compared (centre)", TWICE, "center/settling/counter.py",
        "known is None or known.content == content_of(claim)", "True",
        (f"{REAL}test_center_settle.py",),
    ),
    Guard(
        "what is settled is answered, not settled again", TWICE, "center/settling/counter.py",
        "        if known is not None:\n            return known\n", "",
        (f"{REAL}test_center_settle.py",),
    ),
    Guard(
        "one settlement per key (uq_settlement_key)", TWICE, "center/migrations/versions/r0001_first_schema.py",
        '        sa.UniqueConstraint("visit_no", "charge_batch_no", "kind", name="uq_settlement_key"),\n', "",
        (f"{REAL}test_center_schema.py::test_one_settlement_per_visit_batch_and_kind",),
    ),
    Guard(
        "a visit number is decided on once at a time (lock)", TWICE, "center/settling/counter.py",
        "        records.lock_visits(cursor, visit_nos)\n", "",
        (f"{REAL}test_center_settle.py",),
    ),
    Guard(
        "a settlement that does not check is not settled", FEN, "center/settling/counter.py",
        "        if wrong:\n            raise BrokenSettlement(wrong)\n", "",
        (f"{REAL}test_center_settle.py",),
    ),
    Guard(
        "our own results count from the snapshot they started from (CAS)", FEN, "workers/entitlement.py",
        ', entitlement.c.version == bindparam("before")', "",
        (f"{UNIT}test_workers_entitlement.py",),
    ),
    Guard(
        "persons are locked (FOR UPDATE)", TWICE, "center/settling/records.py",
        " ORDER BY citizen_id_no FOR UPDATE", " ORDER BY citizen_id_no",
        (f"{REAL}test_center_settle.py",),
    ),
    Guard(
        "an answer is recorded once (CAS)", TWICE, "workers/deliver.py",
        ".where(*_KEY, _MAY_BE_SETTLED)",
        ".where(*_KEY)",
        (f"{UNIT}test_workers_deliver.py",),
    ),
    Guard(
        "a late refusal changes nothing (CAS)", TWICE, "workers/deliver.py",
        "_REFUSED = (\n    update(claim)\n    .where(*_KEY, claim.c.state == ClaimState.TOTALLED)",
        "_REFUSED = (\n    update(claim)\n    .where(*_KEY)",
        (f"{UNIT}test_workers_deliver.py",),
    ),
    Guard(
        "one sweeper at a time (lease)", FLOOD, "infra/lease.py",
        "    if row.holder != holder and row.until > now:\n        return None\n", "",
        (f"{UNIT}test_infra_lease.py", f"{UNIT}test_workers_outbox.py"),
    ),
    Guard(
        "who slept past its lease writes nothing (fencing)", FLOOD, "infra/lease.py",
        "    if held != fence:\n", "    if held is None:\n",
        (f"{UNIT}test_workers_outbox.py",),
    ),
    Guard(
        "a lane that does not drain is not fed", FLOOD, "workers/outbox.py",
        "return waiting < LANE_IS_LONG or waiting < before", "return True",
        (f"{UNIT}test_workers_outbox.py",),
    ),
    Guard(
        "the wait grows with every attempt", FLOOD, "workers/outbox.py",
        "2 ** min(attempts, 10) - 1", "1",
        (f"{UNIT}test_workers_outbox.py",),
    ),
    Guard(
        "the postings of a settlement balance", FEN, "center/migrations/versions/r0001_first_schema.py",
        "HAVING sum(amount_fen) <> 0", "HAVING false",
        (f"{REAL}test_center_schema.py",),
    ),
    Guard(
        "an amount is a whole number", FEN, "infra/codec.py",
        "T:\n    return msgspec.convert(body, expected, builtin_types=(bytes,))",
        "T:\n    return msgspec.convert(body, expected, builtin_types=(bytes,), strict=False)",
        (f"{UNIT}test_infra_codec.py",),
    ),
    Guard(
        "the digest of the lines is compared", DETAIL, "center/details.py",
        "    digest = digest_of(claim.packed_lines)\n", '    digest = b""\n',
        (f"{REAL}test_center_details.py",),
    ),
    Guard(
        "detail is due until its receipt", DETAIL, "workers/upload.py",
        ".values(rung_at=seconds())", ".values(rung_at=seconds(), detail_state=1)",
        (f"{UNIT}test_workers_upload.py",),
    ),
    Guard(
        "what is settled is never changed", CONTRA, "center/migrations/versions/r0001_first_schema.py",
        'WRITTEN_ONCE = ("settlement", "posting", "accumulator_entry", "detail")', "WRITTEN_ONCE = ()",
        (f"{REAL}test_center_schema.py",),
    ),
    Guard(
        "an institution sees its own claims only", TENANTS, "workers/claims.py",
        "            claim.c.institution_code == institution_code,\n            claim.c.visit_no == key[0],\n",
        "            claim.c.visit_no == key[0],\n",
        (f"{UNIT}test_workers_claims.py",),
    ),
    Guard(
        "a visit belongs to one institution (door)", TENANTS, "workers/intake.py",
        "if by_visit is not None or self._owner.get(visit_no, code) != code:", "if by_visit is not None:",
        (f"{UNIT}test_workers_intake.py",),
    ),
    Guard(
        "a full backlog is refused", TENANTS, "workers/intake.py",
        "if self._backlog.get(code, 0) >= served.backlog_cap:", "if False:",
        (f"{UNIT}test_workers_intake.py",),
    ),
    Guard(
        "tenant queues take turns", TENANTS, "infra/transport.py",
        "            self._queue_cycle.rotate(queue)\n", "",
        (f"{REAL}test_fairness.py",),
    ),
    Guard(
        "a front-end speaks for itself only", SEALED, "center/settling/counter.py",
        "return None if institution.frontend == self.frontend else refuse(Refusal.FRONTEND_WRONG)", "return None",
        (f"{REAL}test_center_settle.py",),
    ),
    Guard(
        "an envelope opens on its own lane only", SEALED, "infra/envelope.py",
        'return f"jiesuan/{VERSION}/{frontend}/{lane}".encode()', 'return b"jiesuan"',
        (f"{UNIT}test_infra_envelope.py",),
    ),
    Guard(
        "a seal is checked", SEALED, "infra/envelope.py",
        "        compressed = AESGCM(key).decrypt(nonce, sealed, _bound_to(frontend, lane))\n",
        "        from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes\n"
        '        mode = modes.CTR(nonce + b"\\0\\0\\0\\2")\n'
        "        compressed = Cipher(algorithms.AES(key), mode).decryptor().update(sealed[:-16])\n",
        (f"{UNIT}test_infra_envelope.py",),
    ),
    Guard(
        "msgpack and nothing else", SEALED, "infra/broker.py",
        "accept_content=[CONTENT_TYPE]", 'accept_content=[CONTENT_TYPE, "json"]',
        (f"{UNIT}test_infra_broker.py",),
    ),
    Guard(
        "a bomb is not inflated", SEALED, "infra/envelope.py",
        "inflater.decompress(compressed, MAX_OPENED_BYTES)", "inflater.decompress(compressed)",
        (f"{UNIT}test_infra_envelope.py",),
    ),
    Guard(
        "database errors quote no values", QUIET, "infra/database.py",
        'engine = create_engine(url, hide_parameters=True, connect_args={"timeout": 15})',
        'engine = create_engine(url, connect_args={"timeout": 15})',
        (f"{UNIT}test_infra_database.py",),
    ),
    Guard(
        "a task's arguments do not show", QUIET, "infra/broker.py",
        '        options.setdefault("kwargsrepr", "{}")\n', "",
        (f"{UNIT}test_infra_broker.py",),
    ),
    Guard(
        "wrong arguments are not quoted", QUIET, "infra/broker.py",
        'raise UnreadableMessage("arguments that are not the task\'s") from None', "pass",
        (f"{REAL}test_garbage.py",),
    ),
    Guard(
        "a front-end fetches its own institutions' matches only", TENANTS, "center/publications.py",
        "        if digest in visible and (not wanted or visible[digest] <= room):\n"
        "            wanted.append(digest)\n            room -= visible[digest]\n",
        "        wanted.append(digest)\n",
        (f"{REAL}test_catalogue.py",),
    ),
    Guard(
        "a part of a catalogue is what it is called", SEALED, "workers/publications.py",
        " for part in parts if digest_of(part.content) == part.digest}", " for part in parts}",
        (f"{REAL}test_catalogue.py",),
    ),
    Guard(
        "nobody audits what they entered", FEN, "center/catalogue/entries.py",
        "    if found.entered_by == by:\n        raise OwnEntry(by)\n", "",
        (f"{REAL}test_catalogue.py",),
    ),
    Guard(
        "no settlement is taken back twice (link)", TWICE, "center/settling/refund.py",
        "        if contra is not None:\n"
        "            return refuse(Refusal.REFUNDED_ALREADY, held=str(contra.settlement_no))\n",
        "",
        (f"{REAL}test_center_refund.py",),
    ),
    Guard(
        "one contra per settlement (uq_settlement_contra_of)", TWICE, "center/migrations/versions/r0003_refund.py",
        "        unique=True,\n", "        unique=False,\n",
        (f"{REAL}test_center_refund.py",),
    ),
    Guard(
        "a contra moves the accounts back", CONTRA, "center/settling/refund.py",
        "insured.account_balance_fen + paid_back.get(person_no, 0)", "insured.account_balance_fen",
        (f"{REAL}test_center_refund.py",),
    ),
    Guard(
        "what is kept is settled with the refund or not at all", FEN, "center/settling/refund.py",
        "                raise _KeptRefused(answer)\n", "                pass\n",
        (f"{REAL}test_center_refund.py",),
    ),
    Guard(
        "an imported line is not imported again", TWICE, "workers/visits/imports.py",
        "        elif number in known and known[number][0] == line:\n            again[at] = None\n", "",
        (f"{UNIT}test_visit_imports.py",),
    ),
    Guard(
        "lines a batch holds are in no other", TWICE, "workers/visits/settlement.py",
        "        execute_many(self._connection, _TAKE_LINES, taken)\n", "",
        (f"{UNIT}test_visit_settlement.py",),
    ),
    Guard(
        "a batch the centre refused is asked again as it was", TWICE, "workers/visits/settlement.py",
        "return None if refused is None else self._ask_again(row, refused)", "return None",
        (f"{UNIT}test_visit_settlement.py",),
    ),
    Guard(
        "what the files give the HIS is written, then noted", LOST, "producers/his/watcher.py",
        "        try:\n            written += door.outgoing.write(records, at=at)\n",
        "        visits.handed_out(engine, [each.hand_out_id for each in waiting], at=at)\n"
        "        try:\n            written += door.outgoing.write(records, at=at)\n",
        (f"{REAL}test_dbf_visits.py::test_what_was_not_written_when_it_was_cut_short_is_written_later",),
    ),
    Guard(
        "what the tables give the HIS is written, then noted", LOST, "producers/his/tables/outgoing.py",
        "            written = self._write(waiting)\n            visits.handed_out(self._engine, written, at=at)\n",
        "            visits.handed_out(self._engine, [each.hand_out_id for each in waiting], at=at)\n"
        "            written = self._write(waiting)\n",
        (KILLED,),
    ),
    Guard(
        "a row of the shared tables is imported, then marked", LOST, "producers/his/tables/incoming.py",
        "            verdicts = visits.import_lines(self._engine, self._shelf, deliveries, at=at, per=visits.Per.ROW)\n"
        "            marks = [\n"
        "                (place, Mark(told.flag, told.code, \"\", told.imported_at))\n"
        "                for places, of_visit in zip(rows.values(), verdicts, strict=True)\n"
        "                for place, told in zip(places, of_visit, strict=True)\n"
        "            ]\n"
        "            self._tables.mark(connection, table, marks, at=at)\n",
        "            places = [place for of_visit in rows.values() for place in of_visit]\n"
        "            marks = [(place, Mark(IMPORTED, PASSED, \"\", at)) for place in places]\n"
        "            self._tables.mark(connection, table, marks, at=at)\n"
        "        verdicts = visits.import_lines(self._engine, self._shelf, deliveries, at=at, per=visits.Per.ROW)\n",
        (KILLED,),
    ),
    Guard(
        "a key that stands in a file is not written again", TWICE, "producers/his/outgoing.py",
        " for record in of_kind if not self._stands(kind, record.key)}", " for record in of_kind}",
        (f"{UNIT}test_his_outgoing.py",),
    ),
    Guard(
        "a row that is read in is frozen (PostgreSQL)", CONTRA, "producers/his/tables/postgres_ddl.py",
        "                IF OLD.drbz = 1 AND NOT entered THEN\n", "                IF false THEN\n",
        (f"{REAL}test_his_tables.py::test_a_row_that_is_read_in_is_frozen_and_the_whole_statement_fails",),
    ),
    Guard(
        "a row that is read in is frozen (SQLite)", CONTRA, "producers/his/tables/sqlite_ddl.py",
        "BEGIN SELECT RAISE(ABORT, '{FROZEN_ZH}'); END", "BEGIN SELECT 1; END",
        (f"{REAL}test_his_tables.py::test_a_row_that_is_read_in_is_frozen_and_the_whole_statement_fails",),
    ),
    Guard(
        "no HIS says that a row was read in", LOST, "producers/his/tables/postgres_ddl.py",
        "            IF NEW.drbz = 1 AND NOT entered AND NOT (\n", "            IF false AND NOT (\n",
        (f"{REAL}test_his_tables.py::test_a_his_does_not_say_that_a_row_was_read_in",),
    ),
    Guard(
        "a policy that is no law is not published", FEN, "center/policy/publications.py",
        "    if report.policy is None:\n        raise PolicyRefused(report.findings)\n    others",
        "    report = Report(findings=report.findings, policy=parse(text))\n    others",
        (f"{REAL}test_policy_publish.py",),
    ),
    Guard(
        "a policy file with an error is loaded by nobody", FEN, "domain/policy/check.py",
        "        policy=None if any(each.severity == ERROR for each in placed) else policy,\n",
        "        policy=policy,\n",
        (f"{UNIT}test_policy_check.py",),
    ),
    Guard(
        "a case with two answers is an error", FEN, "domain/policy/check_cases.py",
        "[*asked.contradictions(), *asked.gaps()]", "[*asked.gaps()]",
        (f"{UNIT}test_policy_check.py",),
    ),
    Guard(
        "days without a policy between days with one are an error", FEN, "domain/policy/check_cases.py",
        "[*asked.contradictions(), *asked.gaps()]", "[*asked.contradictions()]",
        (f"{UNIT}test_policy_check.py",),
    ),
    Guard(
        "a dearer bill that costs the person less is an error", FEN, "domain/policy/sweep.py",
        "            if high.person_fen < low.person_fen - max(0, high.funds - 1):\n", "            if False:\n",
        (f"{UNIT}test_policy_check.py",),
    ),
    Guard(
        "a local result is compared amount by amount", FEN, "domain/confirmation.py",
        "        if getattr(local, name) != getattr(settlement, name)\n", "        if False\n",
        (f"{UNIT}test_confirmation.py",),
    ),
    Guard(
        "a difference although the snapshot still holds is an alarm", FEN, "center/settling/counter.py",
        "local.snapshot_version == self._version(self._insured[claim.citizen_id_no])", "False",
        (f"{REAL}test_local_settlement.py::test_a_difference_although_nothing_moved_is_an_alarm",),
    ),
)  # fmt: skip
