import os
from datetime import timedelta
from sqlalchemy import text
from center.settling.settle import settle_batch
from domain.identity import synthetic_citizen_id
from tests.support.center import AT, FRONTEND, fill_center, submitted, totals
V = {
 "off": None,
 "empty": "RETURN NULL;",
 "limit1": """SELECT settlement_no INTO bare FROM inserted WHERE total_fen <> 0
    AND (SELECT 1 FROM posting WHERE document_no = settlement_no LIMIT 1) IS NULL LIMIT 1;
    IF FOUND THEN RAISE EXCEPTION 'x'; END IF; RETURN NULL;""",
 "loop": """FOR bare IN SELECT settlement_no FROM inserted WHERE total_fen <> 0 LOOP
    PERFORM 1 FROM posting WHERE document_no = bare LIMIT 1;
    IF NOT FOUND THEN RAISE EXCEPTION 'x'; END IF; END LOOP; RETURN NULL;""",
}
def test_cost(center_engine, owner_engine):
    shelf = fill_center(center_engine, persons=100)
    serial = 0
    used = {k: [0.0, 0] for k in V}
    with owner_engine.connect().execution_options(isolation_level="AUTOCOMMIT") as owner, center_engine.connect() as connection:
        pid = connection.execute(text("SELECT pg_backend_pid()")).scalar()
        def cpu():
            with open(f"/proc/{pid}/schedstat") as f: return int(f.read().split()[0]) / 1e9
        for name, body in V.items():
            if body: owner.exec_driver_sql(f"CREATE FUNCTION f_{name}() RETURNS trigger LANGUAGE plpgsql AS $$ DECLARE bare bigint; BEGIN {body} END $$")
        for round_ in range(240):
            name = list(V)[round_ % len(V)]
            owner.exec_driver_sql("DROP TRIGGER IF EXISTS settlement_has_postings ON settlement")
            if V[name]:
                owner.exec_driver_sql(f"CREATE TRIGGER settlement_has_postings AFTER INSERT ON settlement REFERENCING NEW TABLE AS inserted FOR EACH STATEMENT EXECUTE FUNCTION f_{name}()")
            def batch(k):
                nonlocal serial
                claims = []
                for person in range(100):
                    serial += 1
                    claims.append(totals(serial, visit_no=f"T{serial:015d}", citizen_id_no=synthetic_citizen_id(person)))
                settle_batch(submitted(*claims), frontend=FRONTEND, connection=connection, reference=shelf.current(connection), at=AT + timedelta(seconds=round_))
                connection.commit()
            batch(0)  # plans are made anew after the trigger has changed
            before = cpu()
            batch(1)
            if round_ >= 24:
                used[name][0] += cpu() - before; used[name][1] += 100
    for on, (seconds, n) in used.items():
        print(f"{on:8} {seconds / n * 1e6:.2f} us a settlement over {n}")
