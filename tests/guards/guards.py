"""The guards: what keeps a promise, how to take it away, and the tests that have to notice."""

from __future__ import annotations

from dataclasses import dataclass

UNIT = "tests/unit/"
STORED = "tests/database/"
REAL = "tests/integration/"
KILLED = f"{REAL}test_his_tables_file.py::test_killed_two_hundred_times_it_imports_and_hands_out_everything_once"

BOOKS = f"{STORED}test_conservation.py::"


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
FOUR_EYES = "Money moved by hand has two persons"
TENANTS = "No tenant starves or sees another"
SEALED = "The broker is no security boundary"
MOVES = "An institution is served by whom the centre says, and moves without loss"
QUIET = "No person in a log"
FLOOD = "Sending again is no flood"
SLICES = "Peak first, and nobody starves"
OFFLINE = "The link may be down"
WAYS = "Three ways, one result"
LINES = f"{STORED}test_lines_settled.py::"
STALE = f"{STORED}test_stale.py::"

GUARDS = (
    Guard(
        "a claim that comes with its lines is known by its lines", WAYS, "center/settling/lines.py",
        "return _handed_in(one) == _handed_in(other)", "return one == other",
        (f"{LINES}test_a_copy_is_answered_byte_for_byte_also_when_another_catalogue_is_in_force",),
    ),
    Guard(
        "lines are kept in the transaction that settles them", DETAIL, "center/settling/settle.py",
        "    if with_lines:\n        kept_lines.keep(cursor, with_lines, at)\n", "",
        (f"{LINES}test_lines_are_split_as_at_a_front_end_and_kept_with_the_settlement",),
    ),
    Guard(
        "lines are those their digest names", DETAIL, "center/settling/taking_lines.py",
        "if digest_of(sent.packed_lines) != sent.digest:", "if False:",
        (f"{LINES}test_lines_that_are_not_those_of_their_head_are_refused_and_nothing_is_kept",),
    ),
    Guard(
        "which lines failed stays the answer", WAYS, "center/settling/settle.py",
        'failed=pack(refused.failed) if refused.failed else b"",', 'failed=b"",',
        (f"{LINES}test_failed_lines_go_back_with_every_code_and_a_copy_gets_the_same",),
    ),
    Guard(
        "lines are split for who the person is under the lock", FEN, "center/settling/lines.py",
        "each.split is not None and each.payer != self._payer_of(each.claim)", "False",
        (f"{LINES}test_a_person_who_changed_since_the_first_look_has_the_lines_split_again",),
    ),
    Guard(
        "a refund looks again at what was settled before the locks", FEN, "center/settling/refund.py",
        "row.charge_batch_no == batch_no and row.settlement_no not in numbers for row in rows", "() for row in ()",
        (f"{STORED}test_center_refund.py",),
    ),
    Guard(
        "a claim goes again as it went", LOST, "workers/outbox.py",
        "            if row.sent_lines:\n", "            if False:\n",
        (f"{STORED}test_ways.py",),
    ),
    Guard(
        "totals made again have a number of their own", TWICE, "workers/retotal.py",
        'submission=bindparam("number"),', "submission=claim.c.submission,",
        (f"{STALE}test_a_late_copy_of_the_old_totals_changes_nothing",),
    ),
    Guard(
        "totalling again is tried a few times only", FLOOD, "workers/retotal.py",
        "row.retotalled >= MOST_TRIES or (is_same and row.attempts >= MOST_WAITS)", "False",
        (f"{STALE}test_what_the_centre_wants_and_never_comes_is_told_to_the_cashier_after_bounded_tries",),
    ),
    Guard(
        "totals of yesterday are split by the day they are settled on", FEN, "center/settling/counter.py",
        "if sent == held and claim.totalled_on in (None, self._settled_on):", "if sent == held:",
        (f"{STORED}test_midnight.py",),
    ),
    Guard(
        "a message in short can be put back", LOST, "infra/wire.py",
        "if _carried(raw) != _carried(_message(number, task, lane, shown, envelope)):", "if False:",
        (f"{UNIT}test_infra_wire.py",),
    ),
    Guard(
        "an envelope is bound to its version", SEALED, "infra/envelope.py",
        "sealed, _bound_to(version, frontend, lane))", "sealed, _bound_to(SHORT, frontend, lane))",
        (f"{UNIT}test_infra_envelope.py",),
    ),
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
        '            Timer("sweep", settings.sweep_every_seconds, swept),\n', "",
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
        "        known = self._known(submission)\n", "        known = None\n",
        (f"{UNIT}test_workers_intake.py",),
    ),
    Guard(
        "a key stays answered when its institution is not served any more", TWICE, "workers/intake.py",
        "        if known is not None:\n            return known\n        served =",
        "        if known is not None and submission.institution_code in self._served:\n            return known\n"
        "        served =",
        (f"{UNIT}test_workers_intake.py::test_what_was_taken_before_the_institution_left_stays_answered",),
    ),
    Guard(
        "the digest of a repeat is compared (door)", TWICE, "workers/intake.py",
        "same.content_digest == digest and ", "",
        (f"{UNIT}test_workers_intake.py",),
    ),
    Guard(
        "the content of a repeat is compared (centre)", TWICE, "center/settling/counter.py",
        "known is None or self.is_same(known.content, content_of(claim))", "True",
        (f"{STORED}test_center_settle.py",),
    ),
    Guard(
        "what is settled is answered, not settled again", TWICE, "center/settling/counter.py",
        "        if known is not None:\n            return known\n", "",
        (f"{STORED}test_center_settle.py",),
    ),
    Guard(
        "one settlement per key (uq_settlement_key)", TWICE, "center/migrations/versions/r0001_first_schema.py",
        '        sa.UniqueConstraint("visit_no", "charge_batch_no", "kind", name="uq_settlement_key"),\n', "",
        (f"{STORED}test_center_schema.py::test_one_settlement_per_visit_batch_and_kind",),
    ),
    Guard(
        "a visit number is decided on once at a time (lock)", TWICE, "center/settling/counter.py",
        "        records.lock_visits(cursor, visit_nos)\n", "",
        (f"{STORED}test_center_settle.py",),
    ),
    Guard(
        "a settlement that does not check is not settled", FEN, "center/settling/counter.py",
        "        if wrong:\n            raise BrokenSettlement(wrong)\n", "",
        (f"{STORED}test_center_settle.py",),
    ),
    Guard(
        "our own results count from the snapshot they started from (CAS)", FEN, "workers/entitlement.py",
        ', entitlement.c.version == bindparam("before")', "",
        (f"{UNIT}test_workers_entitlement.py",),
    ),
    Guard(
        "persons are locked (FOR UPDATE)", TWICE, "center/settling/records.py",
        " ORDER BY citizen_id_no FOR UPDATE", " ORDER BY citizen_id_no",
        (f"{STORED}test_center_settle.py",),
    ),
    Guard(
        "an answer is recorded once (CAS)", TWICE, "workers/deliver.py",
        "_RECORD.where(_MAY_BE_SETTLED)",
        "_RECORD",
        (f"{UNIT}test_workers_deliver.py",),
    ),
    Guard(
        "a late refusal changes nothing (CAS)", TWICE, "workers/deliver.py",
        "_REFUSED = (\n    update(claim)\n    .where(*_KEY, claim.c.state == ClaimState.TOTALLED, ",
        "_REFUSED = (\n    update(claim)\n    .where(*_KEY, ",
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
        "a settlement comes after its postings", FEN, "center/migrations/versions/r0020_money_rest.py",
        "document_no = settlement_no LIMIT 1) IS NULL LIMIT 1;", "document_no = settlement_no LIMIT 1) = 2 LIMIT 1;",
        (f"{STORED}test_ledger_chain.py",),
    ),
    Guard(
        "an institution decides about its own clearing only", TENANTS, "center/clearing/deciding.py",
        "    if period.institution_code != said.institution_code:", "    if False:",
        (f"{STORED}test_clearing_told.py",),
    ),
    Guard(
        "a front-end decides about its institutions' clearings only", TENANTS, "center/clearing/deciding.py",
        "    if said.institution_code not in institutions_of(connection, frontend):", "    if False:",
        (f"{STORED}test_clearing_told.py",),
    ),
    Guard(
        "figures that do not stand any more are not confirmed", FEN, "center/clearing/deciding.py",
        "    if period.clearing_no != said.clearing_no:", "    if False:",
        (f"{STORED}test_clearing_told.py",),
    ),
    Guard(
        "what was refused before a restore stays refused", TWICE, "center/backup/catching_up.py",
        "        park(cursor, [_parked(each, frontend, at) for each in claims])", "        pass",
        (f"{STORED}test_restore_answers.py",),
    ),
    Guard(
        "a refund refused before a restore stays refused", TWICE, "center/backup/catching_up.py",
        "            refund_refusals.write(cursor, _refund_answered(each, each.contra_of), frontend, at)",
        "            pass",
        (f"{STORED}test_restore_answers.py",),
    ),
    Guard(
        "a restored centre waits for a move that was lost", LOST, "center/backup/tables.py",
        "(complete_at IS NULL OR strange <> '{}')", "complete_at IS NULL",
        (f"{STORED}test_restore.py::test_a_move_that_was_lost_is_waited_for_and_made_again",),
    ),
    Guard(
        "a lost move goes on under its number", MOVES, "center/backup/lost_moves.py",
        "    return told if known is None else None", "    return None",
        (f"{STORED}test_restore.py::test_what_was_handed_over_and_lost_with_the_centre_is_handed_over_again",),
    ),
    Guard(
        "what is handed over is kept until the institution moves again", MOVES, "workers/moving/handing.py",
        "        return _made_before(connection, asked)", "        return None",
        (f"{STORED}test_restore.py::test_what_was_handed_over_and_lost_with_the_centre_is_handed_over_again",),
    ),
    Guard(
        "what was handed over is not all once the institution is open again", MOVES, "workers/terms.py",
        "                handing.took_back(connection, terms.institution_code)", "                pass",
        (f"{STORED}test_restore.py::test_what_was_handed_over_and_lost_with_the_centre_is_handed_over_again",),
    ),
    Guard(
        "what an operator entered is not missed while a centre recovers", LOST, "center/backup/epochs.py",
        "return refuse(refusal) if epoch.is_open else", "return refuse(refusal) if epoch else",
        (f"{STORED}test_restore.py::test_a_move_that_was_lost_is_waited_for_and_made_again",),
    ),
    Guard(
        "a target that had settled already is not refused while it moves in again", LOST, "center/settling/counter.py",
        "        if institution.standing_of(self.frontend) == records.MOVING_IN:", "        if False:",
        (f"{STORED}test_restore.py::test_a_move_that_was_lost_is_waited_for_and_made_again",),
    ),
    Guard(
        "what travelled is sent to a restored centre by whose books it stands in", LOST, "workers/epochs.py",
        '        claim.c.origin == "",\n        claim.c.kind.in_', "        claim.c.kind.in_",
        (f"{STORED}test_restore_answers.py",),
    ),
    Guard(
        "what is asked for in a move is asked for ever more seldom", FLOOD, "center/serving/moves.py",
        "move.c.sent_at + _PATIENCE <= now", "move.c.sent_at + ASK_AGAIN_SECONDS <= now",
        (f"{STORED}test_moving.py::test_what_nobody_answers_is_asked_for_ever_more_seldom_until_something_moves",),
    ),
    Guard(
        "a restored centre is told again what it had heard of clearings", LOST, "workers/clearings/saying.py",
        "        .where(_COLUMNS.heard_at >= since, _COLUMNS.code == Refused.NO)",
        "        .where(_COLUMNS.heard_at < since)",
        (f"{UNIT}test_api_clearings.py",),
    ),
    Guard(
        "what was confirmed before a restore is confirmed though its hold ran out", FEN, "center/backup/taking.py",
        "AND state <> 'confirmed' AND person_no IS NOT NULL FOR UPDATE)", "AND state = 'prepared' FOR UPDATE)",
        (f"{STORED}test_restore_answers.py",),
    ),
    Guard(
        "what was settled together is taken up by itself", LOST, "center/backup/taking.py",
        "return _Taking(connection, reference, policies, epoch.number, at).take(run)",
        "taken, taking = 0, _Taking(connection, reference, policies, epoch.number, at)\n    while run:\n"
        "        taken += taking.take(run)\n        run = _next_run(cursor, epoch.number)\n    return taken",
        (f"{STORED}test_restore.py::test_what_was_settled_together_is_taken_up_by_itself",),
    ),
    Guard(
        "each refund is looked at by itself", LOST, "center/correcting/proposing.py",
        "    looked_at = iter(lambda: in_transaction(engine, lambda connection: _next(connection, at, now)), None)\n"
        "    return sum(islice(looked_at, AT_ONCE))",
        "    return in_transaction(engine, lambda connection: sum("
        "islice(iter(lambda: _next(connection, at, now), None), AT_ONCE)))",
        (f"{STORED}test_refund_accounts.py",),
    ),
    Guard(
        "a contra taken up after a restore keeps the answer that was told", CONTRA, "center/settling/contra.py",
        '"answer": pack(told or answer),', '"answer": pack(answer),',
        (f"{STORED}test_restore.py::"
         "test_without_a_front_end_what_was_told_stands_and_every_difference_has_a_case",),
    ),
    Guard(
        "both books are those of one moment: the centre's", FEN, "center/reconciling/books.py",
        "    return of if reported.before is None else [*of, columns.settled_at < reported.before]", "    return of",
        (f"{STORED}test_center_books.py",),
    ),
    Guard(
        "both books are those of one moment: the front-end's", FEN, "workers/books.py",
        "        on_the_day.append(claim.c.settled_at < asked.before)", "        pass",
        (f"{UNIT}test_workers_books.py",),
    ),
    Guard(
        "whatever a broker sends ends no process", LOST, "infra/worker.py",
        '            except Exception as error:\n                log.error("consumer_failed"',
        '            except ZeroDivisionError as error:\n                log.error("consumer_failed"',
        (f"{UNIT}test_infra_worker.py",),
    ),
    Guard(
        "relatives who share an account are corrected, too", CONTRA, "center/correcting/recomputing.py",
        "    related = household.of(connection, person_no)", "    related = Household(frozenset({person_no}), {}, {})",
        (f"{STORED}test_refund_accounts.py",),
    ),
    Guard(
        "nobody is credited whom a prepared claim holds", FEN, "center/conservation/crediting.py",
        "    if held:\n", "    if False:\n",
        (f"{STORED}test_account_credit.py",),
    ),
    Guard(
        "a row by itself may be longer than known", LOST, "infra/codec.py",
        "body[name] = _each_shortened(body[name], row)", "body[name] = [_shortened(each, row) for each in body[name]]",
        ("tests/contract/test_rolling_upgrade.py",),
    ),
    Guard(
        "a restored centre gets its books again", LOST, "workers/reconciling/books.py",
        "        .where(institution_book.c.answered_at >= since)",
        "        .where(institution_book.c.answered_at < since)",
        (f"{STORED}test_restore_answers.py",),
    ),
    Guard(
        "a restored centre is told which lines it refused, and what was given up", TWICE, "workers/tables.py",
        "('refused', 'cancelled') OR (claim.state = 'returned' AND claim.refused_at IS NOT NULL))",
        "('refused', 'cancelled'))",
        (f"{STORED}test_restore_answers.py",),
    ),
    Guard(
        "the postings of a document balance", FEN, "center/migrations/versions/r0007_ledger.py",
        "FROM inserted GROUP BY document_no HAVING sum(amount_fen) <> 0", "FROM inserted GROUP BY 1 HAVING false",
        (f"{STORED}test_center_schema.py",),
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
        (f"{STORED}test_center_details.py",),
    ),
    Guard(
        "detail is due until its receipt", DETAIL, "workers/upload.py",
        ".values(rung_at=seconds())", ".values(rung_at=seconds(), detail_state=1)",
        (f"{UNIT}test_workers_upload.py",),
    ),
    Guard(
        "detail of an opening that is over is refused", SLICES, "center/uploading/granting.py",
        "            upload_grant.c.closes_at > at,\n",
        "",
        (f"{STORED}test_center_windows.py",),
    ),
    Guard(
        "detail under a slice that was never granted is refused (fencing)", SLICES, "center/uploading/granting.py",
        "            upload_grant.c.fence >= fence,\n",
        "",
        (f"{STORED}test_center_windows.py",),
    ),
    Guard(
        "one schedule grants slices", SLICES, "center/uploading/granting.py",
        "seconds=LEASE_SECONDS) is None:\n        return []",
        "seconds=LEASE_SECONDS) is None:\n        pass",
        (f"{STORED}test_center_windows.py",),
    ),
    Guard(
        "a small slice each hour, however late settling is", SLICES, "center/uploading/granting.py",
        "elif self._owes_floor(frontend, newest):",
        "elif False:",
        (f"{STORED}test_center_windows.py",),
    ),
    Guard(
        "detail yields to settling", SLICES, "domain/pace.py",
        "    if waiting_seconds >= late_seconds:\n        return 0\n",
        "    if waiting_seconds >= late_seconds:\n        return FULL\n",
        (f"{UNIT}test_pace.py",),
    ),
    Guard(
        "the upload comes back by and by", SLICES, "domain/pace.py",
        "min(begun + step, ceiling",
        "min(FULL, ceiling",
        (f"{UNIT}test_pace.py",),
    ),
    Guard(
        "an hour's budget is what it is", SLICES, "center/uploading/granting.py",
        "newest, rest.minus(spent))",
        "newest, rest)",
        (f"{STORED}test_center_windows.py",),
    ),
    Guard(
        "a slice is earned by time", SLICES, "center/uploading/granting.py",
        "if wait is None or self.at - newest.granted_at < wait:",
        "if wait is None:",
        (f"{STORED}test_center_windows.py",),
    ),
    Guard(
        "what is due is counted from the oldest", SLICES, "center/uploading/marks.py",
        "(min(oldest, at) - LOOK_BACK).date()",
        "at.date()",
        (f"{STORED}test_uploading.py",),
    ),
    Guard(
        "overdue detail is said", SLICES, "center/uploading/marks.py",
        '    log.error("detail_overdue", extra={**shown, "hours": hours})\n',
        '',
        (f"{STORED}test_uploading.py",),
    ),
    Guard(
        "windows do not overlap", SLICES, "center/uploading/windows.py",
        " and overlaps(wanted.window, other.window):",
        " and False:",
        (f"{STORED}test_uploading.py",),
    ),
    Guard(
        "a slice stops at its cut-off", SLICES, "workers/upload.py",
        " or link.now() >= running.granted.cut_off",
        "",
        (f"{UNIT}test_workers_upload.py",),
    ),
    Guard(
        "a grant again does not begin the slice anew", SLICES, "workers/upload.py",
        "(running.granted.fence, running.granted.cut_off) != (granted.fence, granted.cut_off)",
        "True",
        (f"{UNIT}test_workers_upload.py",),
    ),
    Guard(
        "the next chunk waits for an answer", SLICES, "workers/upload.py",
        ".scalar_one() >= CHUNKS_UNDER_WAY",
        ".scalar_one() >= 1000",
        (f"{UNIT}test_workers_upload.py",),
    ),
    Guard(
        "a chunk is answered in kind", DETAIL, "workers/upload.py",
        " != came:\n",
        " is None:\n",
        (f"{UNIT}test_workers_upload.py",),
    ),
    Guard(
        "a chunk is what it says it is", DETAIL, "center/details.py",
        "    if chunk != uploaded.chunk:\n",
        "    if not uploaded:\n",
        (f"{STORED}test_center_details.py",),
    ),
    Guard(
        "the right lines close the case about wrong ones", DETAIL, "center/details.py",
        "close_detail_cases(connection, right, at), ", "0, ",
        (f"{STORED}test_reconciling.py::test_dirty_lines_left_from_an_earlier_upload",),
    ),
    Guard(
        "a chain's head covers the head before", CONTRA, "center/ledger/chain.py",
        "                before,\n                pack(", "                pack(",
        (f"{STORED}test_ledger_chain.py",),
    ),
    Guard(
        "a document is compared with its digest", CONTRA, "center/ledger/verifying.py",
        "elif document.digest != digest:", "elif False:",
        (f"{STORED}test_ledger_chain.py",),
    ),
    Guard(
        "rows past the application are seen (chain)", CONTRA, "center/ledger/verifying.py",
        "_unlinked(cursor, institution_codes))", ")",
        (f"{STORED}test_ledger_chain.py",),
    ),
    Guard(
        "exported heads are compared", CONTRA, "center/ledger/verifying.py",
        "if not self._agrees(row.link_no, row.head, made_at=row.made_at):", "if False:",
        (f"{STORED}test_ledger_chain.py",),
    ),
    Guard(
        "chains are verified every night", CONTRA, "center/tasks.py",
        "lambda: verify_nightly(center.engine, folder, at=center.now())", "lambda: None",
        (f"{REAL}test_center_tasks.py::test_the_chains_are_verified_by_night",),
    ),
    Guard(
        "heads of a lost life excuse no others", CONTRA, "center/ledger/verifying.py",
        "if any(life.since <= one.at < life.began and (made_at or life.since) >= life.since for life in self._lives)",
        "if self._lives",
        (f"{STORED}test_ledger_chain.py",),
    ),
    Guard(
        "verifying wants exported heads of two days", CONTRA, "city/commands/audit.py",
        "if told.tamperings or unanchored:", "if told.tamperings:",
        (f"{STORED}test_ledger_chain.py",),
    ),
    Guard(
        "writers of a chain follow each other (FOR UPDATE)", CONTRA, "center/ledger/chain.py",
        " ORDER BY institution_code FOR UPDATE", " ORDER BY institution_code",
        (f"{STORED}test_ledger_chain.py",),
    ),
    Guard(
        "the application may not change what is settled (privileges)", CONTRA, "center/privileges.py",
        'READ_AND_ADD = "SELECT, INSERT"', 'READ_AND_ADD = "SELECT, INSERT, UPDATE, DELETE"',
        (f"{STORED}test_center_schema.py",),
    ),
    Guard(
        "what is settled is never changed", CONTRA, "center/migrations/versions/r0001_first_schema.py",
        "    RAISE EXCEPTION 'rows of % are written once: % refused, corrections are contra documents', TG_TABLE_NAME,"
        " TG_OP\n        USING ERRCODE = 'restrict_violation';\n",
        "    RETURN NULL;\n",
        (f"{STORED}test_center_schema.py",),
    ),
    Guard(
        "an institution sees its own claims only", TENANTS, "workers/claims.py",
        "            claim.c.institution_code == institution_code,\n            claim.c.visit_no == key[0],\n",
        "            claim.c.visit_no == key[0],\n",
        (f"{UNIT}test_workers_claims.py",),
    ),
    Guard(
        "a visit belongs to one institution (door)", TENANTS, "workers/intake.py",
        " or self._owner.get(visit_no, code) != code:", ":",
        (f"{UNIT}test_workers_intake.py",),
    ),
    Guard(
        "a full backlog is refused", TENANTS, "workers/intake.py",
        "if self._backlog.get(code, 0) >= served.backlog_cap:", "if False:",
        (f"{UNIT}test_workers_intake.py",),
    ),
    Guard(
        "who hands in too fast is told to wait", TENANTS, "workers/admission.py",
        "return TooFast(seconds) if seconds > 0 else None", "return None",
        (f"{UNIT}test_workers_admission.py",),
    ),
    Guard(
        "what came in is counted in the bucket", TENANTS, "workers/intake.py",
        "            self._gates.keep(self._connection)\n", "",
        (f"{UNIT}test_workers_admission.py",),
    ),
    Guard(
        "closed doors are closed", TENANTS, "workers/admission.py",
        "        if why:\n            return DoorsClosed(why)\n", "",
        (f"{UNIT}test_workers_admission.py",),
    ),
    Guard(
        "a turn is as long as its weight", TENANTS, "domain/fairness.py",
        "weighed = Fraction(weight, DEFAULT_WEIGHT * 2 ** min(lowered, LOWEST))", "weighed = Fraction(1)",
        (f"{UNIT}test_fairness.py", f"{UNIT}test_workers_dispatch.py"),
    ),
    Guard(
        "no weight is so low that nothing is taken", TENANTS, "domain/fairness.py",
        "claims = max(1, int(batch * weighed))", "claims = int(batch * weighed)",
        (f"{UNIT}test_fairness.py",),
    ),
    Guard(
        "what was overdrawn is paid back", TENANTS, "domain/fairness.py",
        "return quantum if is_alone else left + quantum", "return quantum",
        (f"{UNIT}test_fairness.py", f"{UNIT}test_workers_dispatch.py"),
    ),
    Guard(
        "enough unanswered claims stop an institution", TENANTS, "workers/dispatch.py",
        "if stands.in_flight > turn.in_flight - turn.claims:", "if False:",
        (f"{UNIT}test_workers_dispatch.py",),
    ),
    Guard(
        "a noisy tenant's weight is lowered", TENANTS, "domain/fairness.py",
        "        return Conduct(min(before.lowered + 1, LOWEST), 0)", "        return Conduct(before.lowered, 0)",
        (f"{UNIT}test_fairness.py", f"{UNIT}test_workers_dispatch.py"),
    ),
    Guard(
        "an institution reads its own notices only", TENANTS, "workers/reconciling/orders.py",
        "query = select(repair_notice).where(columns.institution_code == institution_code)",
        "query = select(repair_notice)",
        (f"{UNIT}test_api_tenants.py",),
    ),
    Guard(
        "a front-end's login takes its own lanes only", SEALED, "infra/broker_rights.py",
        'own = (*_lanes_read_by(code), lanes.preprocess(code, "*"))', 'own = ("*",)',
        ("tests/contract/test_broker_rights.py",),
    ),
    Guard(
        "a front-end's login takes nothing from the centre's lanes", SEALED, "infra/broker_rights.py",
        """(%W~{' %W~'.join((*CENTER_LANES, f'{lanes.SETTLE}.*'))} {_SEND})""",
        """(~{' ~'.join((*CENTER_LANES, f'{lanes.SETTLE}.*'))} {_TAKE})""",
        ("tests/contract/test_broker_rights.py",),
    ),
    Guard(
        "what a front-end has not acknowledged lies apart", SEALED, "infra/broker.py",
        'end = f".{member}" if member else ""', 'end = ""',
        ("tests/contract/test_broker_rights.py",),
    ),
    Guard(
        "tenant queues take turns", TENANTS, "infra/transport.py",
        "            self._queue_cycle.rotate(queue)\n", "",
        (f"{REAL}test_fairness.py",),
    ),
    Guard(
        "a front-end speaks for itself only", SEALED, "center/settling/counter.py",
        "        return epochs.lacking(self.epoch, Refusal.NOT_SERVED)", "        return None",
        (f"{STORED}test_center_settle.py",),
    ),
    Guard(
        "an envelope opens on its own lane only", SEALED, "infra/envelope.py",
        'return f"jiesuan/{version}/{frontend}/{lane}".encode()', 'return b"jiesuan"',
        (f"{UNIT}test_infra_envelope.py",),
    ),
    Guard(
        "a seal is checked", SEALED, "infra/envelope.py",
        "        compressed = AESGCM(key).decrypt(nonce, sealed, _bound_to(version, frontend, lane))\n",
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
        (f"{STORED}test_catalogue.py",),
    ),
    Guard(
        "a part of a catalogue is what it is called", SEALED, "workers/publications.py",
        " for part in parts if digest_of(part.content) == part.digest}", " for part in parts}",
        (f"{STORED}test_catalogue.py",),
    ),
    Guard(
        "nobody audits what they entered", FEN, "center/catalogue/entries.py",
        "    if found.entered_by == by:\n        raise OwnEntry(by)\n", "",
        (f"{STORED}test_catalogue.py",),
    ),
    Guard(
        "no settlement is taken back twice (link)", TWICE, "center/settling/refund.py",
        "        if taken is not None:\n"
        "            return refuse(Refusal.REFUNDED_ALREADY, held=str(taken.settlement_no))\n",
        "",
        (f"{STORED}test_center_refund.py",),
    ),
    Guard(
        "a refund is told again to whoever keeps the same", TWICE, "center/settling/refund.py",
        "        return is_unknown or before.circumstances == contra.request_of(self._asked.kept)\n",
        "        return True\n",
        (f"{STORED}test_center_refund.py::test_something_else_under_the_number_of_a_refund_is_too_late",),
    ),
    Guard(
        "a refund is told again at the front-end that asked", TWICE, "center/settling/refund.py",
        "before.frontend != self._frontend or None in kept", "None in kept",
        (f"{STORED}test_center_refund.py::test_something_else_under_the_number_of_a_refund_is_too_late",),
    ),
    Guard(
        "what a refund kept is known after a restore", TWICE, "center/backup/taking.py",
        "            request=contra.request_of(self._kept_of(first)),\n", "",
        (f"{STORED}test_restore.py::test_front_ends_bring_a_restored_centre_up_to_date_to_the_fen",),
    ),
    Guard(
        "a settlement is told to who handed it in", TWICE, "center/outcomes/ask.py",
        "        if each.frontend == frontend\n", "",
        (f"{STORED}test_center_outcomes.py::test_what_another_front_end_of_the_institution_handed_in_is_not_told_nor_decided",),
    ),
    Guard(
        "a claim is decided by the front-end that handed it in", TWICE, "center/outcomes/decide.py",
        "row is not None and row.frontend != frontend and not by", "False",
        (f"{STORED}test_center_outcomes.py::test_what_another_front_end_of_the_institution_handed_in_is_not_told_nor_decided",),
    ),
    Guard(
        "what is forced stays with its front-end", TWICE, "center/outcomes/decide.py",
        "frontend=row.frontend)", "frontend=self._frontend)",
        (f"{STORED}test_center_outcomes.py::test_what_is_forced_stays_with_the_front_end_that_handed_it_in",),
    ),
    Guard(
        "half of a refund is never sent as a claim", FEN, "workers/outcomes/told.py",
        ").where(claim.c.contra_of.is_(None))\n", ")\n",
        (f"{STORED}test_outcomes.py::test_neither_half_of_a_refund_is_settled_or_refused_by_an_answer_to_a_claim",),
    ),
    Guard(
        "half of a refund is never sent again as a claim", FEN, "workers/outcomes/sending.py",
        "            claim.c.contra_of.is_(None),\n", "",
        (f"{STORED}test_outcomes.py::test_neither_half_of_a_refund_is_settled_or_refused_by_an_answer_to_a_claim",),
    ),
    Guard(
        "a refund is refused by its own answer only", CONTRA, "workers/deliver.py",
        "    .where(claim.c.contra_of.is_(None))  # a refund is refused by its own answer: `workers.refund`\n", "",
        (f"{STORED}test_outcomes.py::test_neither_half_of_a_refund_is_settled_or_refused_by_an_answer_to_a_claim",),
    ),
    Guard(
        "who asks about a refund asks for it again", FEN, "workers/outcomes/resolving.py",
        "    if row.contra_of is None:\n", "    if True:\n",
        (f"{STORED}test_outcomes.py::test_an_operator_who_asks_about_a_refund_asks_for_it_again",),
    ),
    Guard(
        "nothing is posted to what stands", FEN, "center/migrations/versions/r0026_no_strays.py",
        "    IF FOUND THEN\n        RAISE EXCEPTION 'settlement",
        "    IF false THEN\n        RAISE EXCEPTION 'settlement",
        (f"{STORED}test_conservation.py::test_the_database_takes_nothing_for_a_document_that_stands_or_is_not_there",),
    ),
    Guard(
        "detail is of a settlement there is", FEN, "center/migrations/versions/r0026_no_strays.py",
        "    IF FOUND THEN\n        RAISE EXCEPTION 'detail", "    IF false THEN\n        RAISE EXCEPTION 'detail",
        (f"{STORED}test_conservation.py::test_the_database_takes_nothing_for_a_document_that_stands_or_is_not_there",),
    ),
    Guard(
        "what is kept of no document is found", FEN, "center/conservation/checking.py",
        "[each for each in documents.strays(cursor) if each.document_no not in missing]", "[]",
        (f"{STORED}test_conservation.py::test_what_is_kept_of_no_document_is_told_and_freezes_nobody",),
    ),
    Guard(
        "a stray freezes nobody", FEN, "center/conservation/findings.py",
        'NOWHERE = Flow("", "", "")', "NOWHERE = Flow()",
        (f"{STORED}test_conservation.py::test_what_is_kept_of_no_document_is_told_and_freezes_nobody",),
    ),
    Guard(
        "a repair is predicted as what it will do", FEN, "center/reconciling/actions.py",
        "    if repair == found.repair:\n        return found.effect\n", "    return found.effect\n",
        (f"{STORED}test_reconciling.py::test_what_a_person_chose_after_comparing_is_predicted_as_what_it_will_do",),
    ),
    Guard(
        "each layer of a fund is as it was told", FEN, "center/conservation/documents.py",
        "layers = sorted({*posted, *funds})", "layers: list[str] = []",
        (f"{STORED}test_conservation.py::test_what_is_broken_is_found_named_and_freezes_its_flow_only",),
    ),
    Guard(
        "a result adds up (CHECK)", FEN, "center/migrations/versions/r0007_ledger.py",
        '        op.create_check_constraint(f"ck_settlement_{name}", "settlement", rule)\n', "        pass\n",
        (f"{STORED}test_center_schema.py::test_a_result_that_does_not_add_up_is_refused_by_the_database",),
    ),
    Guard(
        "the side that is not rounded takes the rest", FEN, "domain/benefit/sharing.py",
        'return part if shares.rest == "person" else whole(amount) - part', "return part",
        (f"{UNIT}test_benefit.py", f"{UNIT}test_benefit_stays.py"),
    ),
    Guard(
        "the largest remainders take the odd fen", FEN, "domain/money.py",
        "sign * (part + (i in favoured))", "sign * part",
        (f"{UNIT}test_money.py",),
    ),
    Guard(
        "one contra per settlement (uq_settlement_contra_of)", TWICE, "center/migrations/versions/r0003_refund.py",
        "        unique=True,\n", "        unique=False,\n",
        (f"{STORED}test_center_refund.py",),
    ),
    Guard(
        "a contra moves the accounts back", CONTRA, "center/settling/contra.py",
        "SET account_balance_fen = account_balance_fen - paid.fen, version", "SET version",
        (f"{STORED}test_center_refund.py",),
    ),
    Guard(
        "a contra takes back every amount there is", CONTRA, "center/settling/contra.py",
        'if negated and name.endswith("_fen") else name', 'if negated and name == "total_fen" else name',
        (f"{STORED}test_refund_accounts.py",),
    ),
    Guard(
        "no more is kept than there was", FEN, "center/settling/refund.py",
        "kept.total_fen > original.total_fen or kept.line_count > original.line_count", "False",
        (f"{STORED}test_center_refund.py",),
    ),
    Guard(
        "a refusal of a refund stays its answer", TWICE, "center/settling/refund.py",
        "        if told is not None:\n", "        if False:\n",
        (f"{STORED}test_center_refund.py",),
    ),
    Guard(
        "what is prepared is not refunded", FEN, "center/settling/refund.py",
        "Refusal.NOT_CONFIRMED if state is OutcomeState.PREPARED else Refusal.NOT_SETTLED", "Refusal.NOT_SETTLED",
        (f"{STORED}test_center_refund.py",),
    ),
    Guard(
        "a held person's settlement is not refunded", FEN, "center/settling/refund.py",
        "        if holds.is_held(persons, self._at):\n", "        if False:\n",
        (f"{STORED}test_center_refund.py",),
    ),
    Guard(
        "a document that moves money has postings", CONTRA, "center/migrations/versions/r0029_documents_posted.py",
        "        RAISE EXCEPTION 'document % comes without its postings', NEW.document_no USING ERRCODE ="
        " 'check_violation';\n",
        "        RETURN NULL;\n",
        (f"{STORED}test_ledger_chain.py",),
    ),
    Guard(
        "a second person approves", FOUR_EYES, "center/approving/decisions.py",
        "if by.strip().casefold() == found.proposed_by.casefold():", "if False:",
        (f"{STORED}test_approvals.py",),
    ),
    Guard(
        "a second login approves, where that is wanted", FOUR_EYES, "center/approving/decisions.py",
        "if by_login and ", "if False and ",
        (f"{STORED}test_approvals.py",),
    ),
    Guard(
        "a second person approves (database)", FOUR_EYES, "center/migrations/versions/r0011_proposals.py",
        "decided_by IS NULL OR decided_by <> proposed_by", "true",
        (f"{STORED}test_approvals.py",),
    ),
    Guard(
        "books that moved make a proposal stale", FOUR_EYES, "center/approving/decisions.py",
        "    if now != found.effect:\n", "    if False:\n",
        (f"{STORED}test_approvals.py",),
    ),
    Guard(
        "a proposal is decided once (database)", FOUR_EYES, "center/migrations/versions/r0011_proposals.py",
        "    IF OLD.state <> 'open' THEN\n", "    IF false THEN\n",
        (f"{STORED}test_approvals.py",),
    ),
    Guard(
        "what was proposed is what is approved (database)", FOUR_EYES, "center/migrations/versions/r0011_proposals.py",
        "BEFORE UPDATE ON proposal\n", "BEFORE UPDATE OF decided_by ON proposal\n",
        (f"{STORED}test_approvals.py",),
    ),
    Guard(
        "a proposal expires", FOUR_EYES, "center/approving/decisions.py",
        "    if not found.is_open(at):\n", "    if False:\n",
        (f"{STORED}test_approvals.py",),
    ),
    Guard(
        "nothing is corrected that cannot be recomputed", FEN, "center/correcting/actions.py",
        "    if recomputed.impossible:\n", "    if False:\n",
        (f"{STORED}test_corrections.py",),
    ),
    Guard(
        "a correction starts from what still stands", FEN, "center/correcting/recomputing.py",
        "root.accumulators.get(key, 0) + more[key]", "own.accumulators.get(key, 0)",
        (f"{STORED}test_corrections.py",),
    ),
    Guard(
        "a correction is told until it is heard", LOST, "center/correcting/telling.py",
        'correction.c.heard_at.is_(None), correction.c.due_at <= bindparam("now")',
        'correction.c.heard_at.is_(None), correction.c.attempts == 0, correction.c.due_at <= bindparam("now")',
        (f"{STORED}test_corrections_told.py",),
    ),
    Guard(
        "a refused refund leaves a correction's link alone", CONTRA, "workers/refund.py",
        "                claim.c.refunded_by == answered.contra_batch_no,\n", "",
        (f"{STORED}test_corrections_told.py",),
    ),
    Guard(
        "what is kept is settled with the refund or not at all", FEN, "center/settling/refund.py",
        "                raise _KeptRefused(answer)\n", "                pass\n",
        (f"{STORED}test_center_refund.py",),
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
        "        if refused is not None:\n            return self._ask_again",
        "        if False:\n            return self._ask_again",
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
        "keyed.items() if not self._stands(kind, key)}", "keyed.items()}",
        (f"{UNIT}test_his_outgoing.py",),
    ),
    Guard(
        "a row that is read in is frozen (PostgreSQL)", CONTRA, "producers/his/tables/postgres_ddl.py",
        "                IF OLD.drbz = 1 AND NOT entered THEN\n", "                IF false THEN\n",
        (f"{STORED}test_his_tables.py::test_a_row_that_is_read_in_is_frozen_and_the_whole_statement_fails",),
    ),
    Guard(
        "a row that is read in is frozen (SQLite)", CONTRA, "producers/his/tables/sqlite_ddl.py",
        "BEGIN SELECT RAISE(ABORT, '{FROZEN_ZH}'); END", "BEGIN SELECT 1; END",
        (f"{STORED}test_his_tables.py::test_a_row_that_is_read_in_is_frozen_and_the_whole_statement_fails",),
    ),
    Guard(
        "no HIS says that a row was read in", LOST, "producers/his/tables/postgres_ddl.py",
        "            IF NEW.drbz = 1 AND NOT entered AND NOT (\n", "            IF false AND NOT (\n",
        (f"{STORED}test_his_tables.py::test_a_his_does_not_say_that_a_row_was_read_in",),
    ),
    Guard(
        "a policy that is no law is not published", FEN, "center/policy/publications.py",
        "    if report.policy is None:\n        raise PolicyRefused(report.findings)\n    others",
        "    report = Report(findings=report.findings, policy=parse(text))\n    others",
        (f"{STORED}test_policy_publish.py",),
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
        (f"{STORED}test_local_settlement.py::test_a_difference_although_nothing_moved_is_an_alarm",),
    ),
    Guard(
        "what is committed after its day was closed is in the next clearing", FEN, "center/clearing/members.py",
        "        late = _committed_after(connection, flow, held.link_no, held.last_day)\n", "        pass\n",
        (f"{STORED}test_clearing.py::test_what_is_committed_after_its_day_was_closed_is_in_exactly_one_clearing",),
    ),
    Guard(
        "a period is closed only when the ledger and the sums of its days agree", FEN, "center/clearing/reckoning.py",
        "    compare(flow, days, open_days(connection, flow, last_day))\n", "",
        (f"{STORED}test_clearing.py::test_books_that_differ_are_not_closed_and_the_day_is_named",),
    ),
    Guard(
        "what a period leaves negative is carried into the next", FEN, "center/clearing/reckoning.py",
        "min(held.due_fen, 0)", "0",
        (f"{STORED}test_clearing.py::test_a_contra_after_closing_is_in_the_next_clearing_and_a_negative_one_is_carried",),
    ),
    Guard(
        "no more is deducted than the fund paid", FEN, "center/clearing/deductions.py",
        "        if part.amount_fen > rest:\n", "        if False:\n",
        (f"{STORED}test_clearing.py::test_a_deduction_goes_back_to_its_fund_and_is_in_the_next_clearing",),
    ),
    Guard(
        "a deduction is given back with its settlement", FEN, "center/clearing/closing.py",
        "deductions.give_back(cursor_of(connection), period.flow, until=period.last_day, by=by, at=at)", "[]",
        (f"{STORED}test_clearing.py::test_a_deduction_is_given_back_when_its_settlement_is",),
    ),
    Guard(
        "a statement says what the ledger says", FEN, "center/clearing/statement.py",
        "    _require_same(held, layers, days, funds, persons)\n", "",
        (f"{REAL}test_clearing_commands.py::test_a_statement_that_says_something_else_than_the_clearing_is_not_made",),
    ),
    Guard(
        "an answer of an epoch that is over is not recorded", LOST, "workers/epochs.py",
        "    if epoch < held:\n", "    if epoch < 0:\n",
        (f"{STORED}test_restore.py::test_an_answer_of_the_centre_that_was_lost_is_not_recorded_and_the_claim_settles_anew",),
    ),
    Guard(
        "a cancellation leaves a tombstone", TWICE, "center/outcomes/decide.py",
        "rows.insert_tombstone(self._cursor, self._key, frontend=self._frontend, at=self._at, by=self._by)", "pass",
        (f"{STORED}test_center_outcomes.py::test_a_cancellation_before_its_original_makes_the_original_refused",),
    ),
    Guard(
        "a tombstone refuses its original", TWICE, "center/settling/counter.py",
        "        _is_to_be_settled,\n", "",
        (f"{STORED}test_center_outcomes.py::test_a_cancellation_before_its_original_makes_the_original_refused",),
    ),
    Guard(
        "a prepared claim expires by the centre's clock", TWICE, "center/outcomes/decide.py",
        "        if row.expires_at is None or row.expires_at <= self._at:\n", "        if False:\n",
        (f"{STORED}test_center_outcomes.py::test_a_confirmation_after_the_interval_is_told_to_submit_again",),
    ),
    Guard(
        "whoever meets an expired hold ends it for good", TWICE, "center/settling/counter.py",
        "                holds.release_expired(cursor, expired, at=self.at)\n", "                pass\n",
        (f"{STORED}test_center_outcomes.py::test_whoever_meets_an_expired_hold_lets_go_of_it_for_good",),
    ),
    Guard(
        "an outcome that is decided is told, not decided again", TWICE, "center/outcomes/decide.py",
        "    if OutcomeState(row.state) not in EDGES:\n        return deciding.again(",
        "    if False:\n        return deciding.again(",
        (f"{STORED}test_center_outcomes.py::test_each_edge_once_and_the_loser_hears_of_the_winner",),
    ),
    Guard(
        "an outcome leaves its state once (database)", TWICE, "center/migrations/versions/r0020_money_rest.py",
        "IF TG_OP = 'DELETE' OR OLD.state <> 'prepared'{unless} THEN", "IF FALSE{unless} THEN",
        (f"{STORED}test_center_outcomes.py::test_the_database_lets_an_outcome_move_once",),
    ),
    Guard(
        "a prepared claim holds its person", FEN, "center/settling/counter.py",
        "        _person_is_free,\n", "",
        (f"{STORED}test_center_outcomes.py::test_while_a_claim_is_prepared_nothing_else_of_its_person_moves",),
    ),
    Guard(
        "the relative whose account may pay is held, too", FEN, "center/outcomes/prepare.py",
        "holds.hold(self._cursor, row.persons(), until=self._until)",
        "holds.hold(self._cursor, row.persons()[:1], until=self._until)",
        (f"{STORED}test_center_outcomes.py::test_the_relative_whose_account_may_pay_is_held_too",),
    ),
    Guard(
        "a preparation is compared by its content", TWICE, "center/outcomes/prepare.py",
        "not self._counter.is_same(held, content_of(claim))", "False",
        (f"{STORED}test_center_outcomes.py::test_preparing_twice_is_preparing_once_and_other_content_is_a_conflict",),
    ),
    Guard(
        "what the centre refused as it was before is sent again as it is", LOST, "workers/outcomes/told.py",
        "        _send_again(row, came)  # as it is submitted now it has not come, or had to wait\n", "",
        (f"{STORED}test_stale.py::"
         "test_one_to_be_prepared_is_sent_again_when_the_centre_only_knows_the_old_totals",),
    ),
    Guard(
        "amounts nobody has seen are not confirmed", FEN, "workers/outcomes/told.py",
        "unpack(row.answer, ClaimAnswer) != answer", "False",
        (f"{STORED}test_outcomes.py::test_what_comes_out_otherwise_the_second_time_is_not_confirmed",),
    ),
    Guard(
        "a prepared claim is not sent to be settled", TWICE, "workers/outbox.py",
        "            .where(claim.c.phase == Phase.SETTLE)  # the others by `workers.outcomes`\n", "",
        (f"{STORED}test_outcomes.py::test_whatever_is_lost_is_asked_for_until_it_is_known",),
    ),
    Guard(
        "an institution decides once", TWICE, "workers/outcomes/decide.py",
        "    if found.phase == Phase.CONFIRM:\n        return Against.CONFIRMING\n", "",
        (f"{UNIT}test_api_outcomes.py",),
    ),
    Guard(
        "a cancelled key takes no claim", TWICE, "workers/intake.py",
        "            return Cancelled()\n", "            pass\n",
        (f"{UNIT}test_api_outcomes.py",),
    ),
    Guard(
        "a key in flight is busy", TWICE, "producers/api/claims.py",
        "    if flight in site.in_flight:\n", "    if False:\n",
        (f"{UNIT}test_api_outcomes.py",),
    ),
    Guard(
        "what only holds a claim up does not refuse it", LOST, "workers/deliver.py",
        "if answer.refusal and answer.refusal not in _GO_ON and not answer.failed",
        "if answer.refusal and not answer.failed",
        (f"{UNIT}test_api_outcomes.py",),
    ),
    Guard(
        "what is held up is not parked", LOST, "center/settling/settle.py",
        "if isinstance(decision, Refused) and decision.refusal not in HOLDS", "if isinstance(decision, Refused)",
        (f"{STORED}test_center_outcomes.py::test_while_a_claim_is_prepared_nothing_else_of_its_person_moves",),
    ),
    Guard(
        "a refusal that was told stays the answer", TWICE, "center/settling/counter.py",
        "if not self._refused:", "if True:",
        (f"{STORED}test_refusals.py::test_a_late_copy_is_refused_word_for_word_though_the_reason_is_gone",),
    ),
    Guard(
        "what was told as refused is not settled behind it", TWICE, "workers/deliver.py",
        "_RECORD.where(_MAY_BE_SETTLED)", "_RECORD.where(_MAY_BE_ORDERED)",
        (f"{UNIT}test_workers_deliver.py",),
    ),
    Guard(
        "an earlier refusal does not refuse what is sent again", LOST, "workers/deliver.py",
        "claim.c.state == ClaimState.TOTALLED, claim.c.submission <= bindparam(\"number\")",
        "claim.c.state == ClaimState.TOTALLED",
        (f"{UNIT}test_workers_deliver.py",),
    ),
    Guard(
        "the sums of a day are kept with its settlements", FEN, "center/settling/settle.py",
        "    sums.add(cursor, rows)\n", "",
        (f"{BOOKS}test_what_is_settled_and_taken_back_holds_at_every_level",),
    ),
    Guard(
        "a contra settlement is in the sums of its day", FEN, "center/settling/refund.py",
        "        sums.add_documents(self._cursor, [number])\n", "",
        (f"{BOOKS}test_what_is_settled_and_taken_back_holds_at_every_level",),
    ),
    Guard(
        "nothing is settled in a frozen flow", FEN, "center/settling/counter.py",
        "        _flow_is_open,\n", "",
        (f"{BOOKS}test_only_the_broken_flow_is_frozen_until_two_persons_release_it",),
    ),
    Guard(
        "nothing is taken back in a frozen flow", FEN, "center/settling/refund.py",
        "if is_frozen(self._institution.frozen, original.scheme, original.clearing_type, self._insured):", "if False:",
        (f"{BOOKS}test_only_the_broken_flow_is_frozen_until_two_persons_release_it",),
    ),
    Guard(
        "what was released freezes again when it is worse", FEN, "center/conservation/findings.py",
        "            self.found_fen - self.expected_fen,\n", "",
        (f"{BOOKS}test_only_the_broken_flow_is_frozen_until_two_persons_release_it",),
    ),
    Guard(
        "a check sees whole transactions (one snapshot)", FEN, "center/conservation/checking.py",
        'isolation_level="REPEATABLE READ"', 'isolation_level="READ COMMITTED"',
        (f"{BOOKS}test_while_batches_commit_nothing_is_broken_and_the_running_sums_are_those_of_the_documents",),
    ),
    Guard(
        "sums are compared where the chain is read to its end", FEN, "center/conservation/checking.py",
        "    codes = news.at_head\n", "    codes = frozenset(news.upto)\n",
        (f"{BOOKS}test_while_batches_commit_nothing_is_broken_and_the_running_sums_are_those_of_the_documents",),
    ),
    Guard(
        "a check that slept past its lease writes nothing (fencing)", FEN, "center/conservation/checking.py",
        "    guard(connection, lease, name=LEASE, fence=fence)\n", "",
        (f"{BOOKS}test_who_slept_past_its_lease_writes_nothing_and_nothing_is_missed",),
    ),
    Guard(
        "links are dense", FEN, "center/conservation/links.py",
        "        if link_no != last + 1:\n", "        if False:\n",
        (f"{BOOKS}test_a_gap_in_the_chain_is_found",),
    ),
    Guard(
        "uploaded lines wait for their check (trigger)", DETAIL, "center/migrations/versions/r0008_conservation.py",
        "    op.execute(DETAILS_DUE)\n", "    op.execute(DETAILS_DUE.partition('CREATE TRIGGER')[0])\n",
        (f"{BOOKS}test_uploaded_lines_are_checked_once",),
    ),
    Guard(
        "an account opens with what it came in with (trigger)", FEN, "center/migrations/versions/r0008_conservation.py",
        "    op.execute(OPENINGS)\n", "    op.execute(OPENINGS.partition('CREATE TRIGGER')[0])\n",
        (f"{BOOKS}test_what_is_settled_and_taken_back_holds_at_every_level",),
    ),
    Guard(
        "a front-end hands in its own institutions' books only", TENANTS, "center/reconciling/submissions.py",
        "if book.institution_code not in institutions_of(connection, frontend):", "if False:",
        (f"{STORED}test_reconciling.py::test_a_front_end_hands_in_the_books_of_its_own_institutions_only",),
    ),
    Guard(
        "every entry is in one difference", FEN, "domain/reconciliation.py",
        "if contra is not None and contra in lone and contra not in joined:",
        "if contra is not None and contra in lone:",
        (f"{UNIT}test_reconciliation.py::test_whatever_the_books_the_differences_add_up_to_that_of_the_totals",),
    ),
    Guard(
        "settled again after a refund is not settled twice", FEN, "domain/reconciliation.py",
        "and self._stands(other) and", "and",
        (f"{UNIT}test_reconciliation.py",),
    ),
    Guard(
        "what a front-end may know of is not taken back", TWICE, "center/reconciling/actions.py",
        "if unknown is not True:", "if False:",
        (f"{STORED}test_reconciling.py::test_what_only_the_centre_has_is_asked_about_before_it_is_taken_back",),
    ),
    Guard(
        "an order is carried out once", TWICE, "workers/reconciling/orders.py",
        "if before is not None:", "if False and before is not None:",
        (f"{UNIT}test_workers_reconciling.py",),
    ),
    Guard(
        "a file is not unpacked beyond its bounds", FLOOD, "producers/reconciling/files.py",
        "if len(content) > MAX_TEXT:", "if False:",
        (f"{UNIT}test_settlement_files.py::test_what_is_no_file_of_ours_is_refused_clearly",),
    ),
    Guard(
        "off-line settlement is off until it is switched on, with every limit", OFFLINE, "domain/offline.py",
        "    if not terms.may_settle:\n", "    if False:\n",
        (f"{UNIT}test_offline.py::test_what_stands_against_a_claim",),
    ),
    Guard(
        "only outpatient visits and purchases are settled off-line", OFFLINE, "domain/offline.py",
        "    if visit_type not in OFFLINE_TYPES:\n", "    if False:\n",
        (f"{UNIT}test_offline.py::test_what_stands_against_a_claim",),
    ),
    Guard(
        "no fund pays off-line", OFFLINE, "domain/offline.py",
        "    if answer.fund_pay_fen or answer.institution_share_fen:\n", "    if False:\n",
        (f"{UNIT}test_offline.py::test_what_stands_against_a_result",),
    ),
    Guard(
        "an account pays no more off-line than was leased of it", OFFLINE, "domain/offline.py",
        "limit_fen - spent_fen else None", "limit_fen else None",
        (f"{UNIT}test_offline.py::test_what_stands_against_a_result",),
    ),
    Guard(
        "what is leased to others is not leased again", OFFLINE, "domain/offline.py",
        "balance_fen - exposure(others, at=at)))", "balance_fen))",
        (f"{UNIT}test_offline.py::test_no_account_is_overdrawn_by_more_than_the_worst_case",),
    ),
    Guard(
        "a larger lease that was given before still counts", OFFLINE, "center/offline/leasing.py",
        "greatest(held.limit_fen, excluded.limit_fen)", "excluded.limit_fen",
        (f"{STORED}test_offline.py::test_a_smaller_lease_does_not_take_back_a_larger_one",),
    ),
    Guard(
        "an off-line settlement is posted in time or not at all", OFFLINE, "domain/offline.py",
        "    return at - settled_at > timedelta(hours=hours)\n", "    return False\n",
        (f"{UNIT}test_offline.py::test_the_time_limit_is_inclusive",),
    ),
    Guard(
        "what is not settled has a limit in sum while the link is down", OFFLINE, "domain/offline.py",
        "    if terms.total_fen and unsettled_fen + claim_fen > terms.total_fen:\n", "    if False:\n",
        (f"{UNIT}test_offline.py::test_store_and_forward_has_a_limit_per_claim_and_one_in_sum",),
    ),
    Guard(
        "of each person what came first goes first", OFFLINE, "workers/offline/drain.py",
        ".where(claim.c.person_key.is_not(None), _IS_FIRST)", ".where(claim.c.person_key.is_not(None))",
        (f"{STORED}test_offline.py::test_a_later_claim_of_a_person_waits_behind_an_earlier_one",),
    ),
    Guard(
        "a clock that is wrong is found out", OFFLINE, "domain/link.py",
        "        return self.at_least > CLOCK_BOUND\n", "        return False\n",
        (f"{UNIT}test_link.py::test_a_clock_is_wrong_beyond_the_bound_and_only_for_certain",),
    ),
    Guard(
        "no claim of a day that has not come is settled", OFFLINE, "center/settling/counter.py",
        "        if not is_after(day, self.at):\n", "        if True:\n",
        (f"{STORED}test_offline.py::test_a_claim_of_a_day_that_has_not_come_is_refused_with_its_code",),
    ),
    Guard(
        "a differing off-line settlement opens a case", OFFLINE, "center/settling/settle.py",
        "        posting.keep(connection, counter.cases, offline, at=at)\n", "        pass\n",
        (f"{STORED}test_offline.py::test_the_account_was_spent_meanwhile",),
    ),
    Guard(
        "a front-end that was left sends only what it had accepted", MOVES, "center/settling/records.py",
        'frozenset({"open", "moving_out"}), "moving_in"', 'frozenset({"open", "moving_out", "moved"}), "moving_in"',
        (f"{STORED}test_moving.py::test_whoever_does_not_serve_the_institution_sends_nothing_for_it",),
    ),
    Guard(
        "what it had accepted is settled from there (draining)", MOVES, "center/settling/counter.py",
        "if (claim.visit_no, claim.charge_batch_no) in self._accepted_before:", "if False:",
        (f"{STORED}test_moving.py::test_visits_settlements_and_keys_come_along_and_both_doors_are_never_open",),
    ),
    Guard(
        "a bundle is taken once (fencing by bundle number)", MOVES, "workers/moving/taking.py",
        "    if handed.bundle_no == last + 1:\n", "    if True:\n",
        (f"{STORED}test_moving.py::test_a_bundle_repeated_or_late_changes_nothing_and_one_of_another_move_is_not_taken",),
    ),
    Guard(
        "a bundle of another move is not taken (fencing by move number)", MOVES, "workers/moving/taking.py",
        "row.move_no != handed.move_no or ", "",
        (f"{STORED}test_moving.py::test_a_bundle_repeated_or_late_changes_nothing_and_one_of_another_move_is_not_taken",),
    ),
    Guard(
        "nothing is handed over for another move", MOVES, "workers/moving/handing.py",
        "row.move_no != asked.move_no or ", "",
        (f"{STORED}test_moving.py::test_a_bundle_repeated_or_late_changes_nothing_and_one_of_another_move_is_not_taken",),
    ),
    Guard(
        "a step of a move locks the terms before any row", MOVES, "center/serving/moves.py",
        "    if under_way is not None:\n        terms.renewing(connection)\n", "",
        (f"{STORED}test_moving.py::test_a_step_waits_for_whoever_changes_terms_before_it_locks_anything",),
    ),
    Guard(
        "a bundle comes from the source of its move", MOVES, "center/serving/moves.py",
        "(row.source, row.institution_code) != (frontend, handed.institution_code)", "False",
        (f"{STORED}test_moving.py::test_a_bundle_comes_from_the_source_of_its_move",),
    ),
    Guard(
        "the target opens when it has everything", MOVES, "domain/moving.py",
        "    is_whole = 0 < facts.whole_at <= facts.kept\n", "    is_whole = 0 < facts.whole_at\n",
        (f"{UNIT}test_moving.py",),
    ),
    Guard(
        "a front-end that was left takes nothing new", MOVES, "workers/intake.py",
        "        if served.standing != Standing.OPEN:\n", "        if False:\n",
        (f"{UNIT}test_workers_terms.py",),
    ),
    Guard(
        "what a move that was taken back announced is not awaited", MOVES, "workers/moving/arrivals.py",
        "    institution.c.standing.in_([str(Standing.MOVING_IN), str(Standing.OPEN)]),\n", "",
        (f"{STORED}test_restore.py::"
         "test_what_comes_no_more_since_a_restored_centre_took_the_move_back_is_not_awaited",),
    ),
    Guard(
        "what is announced again is awaited again", MOVES, "workers/moving/taking.py",
        ".values(told[visit_no, batch_no])", ".values(frontend=told[visit_no, batch_no][\"frontend\"])",
        (f"{STORED}test_restore.py::"
         "test_what_comes_no_more_since_a_restored_centre_took_the_move_back_is_not_awaited",),
    ),
    Guard(
        "what is on its way is not accepted a second time", MOVES, "workers/intake.py",
        "        if is_arriving(self._connection, code, key=submission.idempotency_key):\n", "        if False:\n",
        (f"{STORED}test_moving.py::test_visits_settlements_and_keys_come_along_and_both_doors_are_never_open",),
    ),
    Guard(
        "no refund beside one that is on its way", MOVES, "workers/refund.py",
        "return not_ready(VisitRefusal.ARRIVING) if comes else None", "return None",
        (
            f"{STORED}test_moving.py::"
            "test_a_settlement_is_not_taken_back_at_the_target_while_a_refund_of_its_visit_is_on_its_way",
        ),
    ),
    Guard(
        "copies of a move's messages breed no copies", FLOOD, "center/serving/moves.py",
        "not row.kept < told.bundle_no <= row.taken", "told.bundle_no > row.taken",
        (f"{STORED}test_moving.py::test_copies_of_what_a_front_end_says_breed_no_copies",),
    ),
    Guard(
        "a refund stays answered when its institution is closed", CONTRA, "center/settling/spoken_for.py",
        "is not None and institution.has_heard", "is not None and institution.active and institution.has_heard",
        (f"{STORED}test_center_refund.py::test_a_refund_stays_answered_though_the_institution_was_closed_since",),
    ),
    Guard(
        "a visit another front-end hands over is not taken for a new one", MOVES, "workers/intake.py",
        "        if served.moved_to and visit_no and visit_no not in self._owner and", "        if False and",
        (f"{STORED}test_moving.py::test_a_visit_another_front_end_is_handing_over_is_not_taken_for_a_new_one",),
    ),
    Guard(
        "numbers cut into parts stay so", TWICE, "workers/terms.py",
        "        if row.frontends > terms.parts:\n", "        if False:\n",
        (f"{UNIT}test_workers_terms.py::test_numbers_that_were_cut_into_parts_stay_so_whatever_a_restored_centre_says",),
    ),
    Guard(
        "older terms are not obeyed", MOVES, "workers/terms.py",
        "    if sent.version < ", "    if -1 > ",
        (f"{UNIT}test_workers_terms.py",),
    ),
    Guard(
        "what came with a move stands in one book only", MOVES, "workers/books.py",
        ', claim.c.origin == ""]', "]",
        (f"{STORED}test_moving.py::test_it_moves_back_and_forth_and_every_visit_is_live_once",),
    ),
    Guard(
        "a key is cancelled where its claim would be taken", TWICE, "workers/outcomes/decide.py",
        "        if elsewhere is not None:\n            return elsewhere\n", "",
        (f"{STORED}test_moving.py::test_a_key_is_cancelled_only_where_its_claim_would_be_taken",),
    ),
    Guard(
        "a restored centre counts on behind the year that began", TWICE, "center/backup/epochs.py",
        "max(_on_the_line(connection, at), high_water + LEAST_JUMP)", "high_water + LEAST_JUMP",
        (f"{STORED}test_restore.py::"
         "test_what_was_settled_in_a_year_that_began_after_the_backup_is_taken_up_and_no_number_comes_twice",),
    ),
    Guard(
        "numbers of a year begin when its partitions are there", LOST, "center/clearing/schedule.py",
        "        partitions.prepare(connection, [year])\n", "",
        (f"{STORED}test_partitions.py::test_a_year_begins_when_its_partitions_are_there_for_everybody",),
    ),
)  # fmt: skip
