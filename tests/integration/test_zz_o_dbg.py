import tests.integration.test_link_down as t, time
orig=t.eventually
def ev(f, within=20):
    try: return orig(f, within=within)
    except AssertionError:
        print(CITY.site.logs[-6000:]); 
        with CITY.site.engine.connect() as c:
            from sqlalchemy import text
            print(c.execute(text("select visit_no,state,attempts,refusal,queued_at,waits_for from claim")).all(), CITY.leases(), CITY.link())
            print(c.execute(text("select * from link")).all())
        raise
t.eventually=ev
real=t.test_the_link_is_cut_and_back
def test_it(city, wire):
    global CITY; CITY=city
    import time; b=time.time()
    try: real(city, wire)
    finally: print("took", time.time()-b)
city=t.city; wire=t.wire
