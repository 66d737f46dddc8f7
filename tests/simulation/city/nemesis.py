"""What goes wrong besides the dice at every point: processes killed and stopped, links cut, brokers emptied, clocks
set."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.simulation.city import town

if TYPE_CHECKING:
    from tests.simulation.city.run import Run

NEVER = 1e8
LONGEST_PAUSE = 100.0
LINKS_DOWN_AT = (12.0, 20.0)
"""Where the seed has it: the counters have asked who is insured by then."""
LONGEST_AWAY = 240.0
"""Of a front-end without its link, until the heal phase mends it."""


class Nemesis:
    """Strikes at random moments until the heal phase begins."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._city = run.city
        self._strikes = (
            self._kill,
            self._kill,
            self._stop,
            self._cut,
            self._cut,
            self._cut_off,
            self._wipe,
            self._broker_away,
            self._clock,
        )

    def begin(self) -> None:
        """Have the first strike come."""
        if self._city.profile.offline_fen:
            self._city.loop.at(self._city.dice.uniform(*LINKS_DOWN_AT), self.links_down)
        if self._city.profile.nemesis_every < NEVER:
            self._next()

    def _next(self) -> None:
        every = self._city.profile.nemesis_every
        self._city.loop.at(self._city.loop.now + self._city.dice.uniform(0.2, 1.8) * every, self._strike)

    def _strike(self) -> None:
        if self._city.is_healing:
            return
        self._city.dice.choice(self._strikes)()
        self._next()

    def _kill(self) -> None:
        process = self._run.any_process()
        if process.alive:
            self._city.fault("kill", process)
            self._city.loop.kill(process)

    def _stop(self) -> None:
        """SIGSTOP, and SIGCONT long after its leases have ended."""
        process = self._run.any_process()
        seconds = self._city.dice.uniform(1.0, LONGEST_PAUSE)
        self._city.fault("stop", process, f"{seconds:.1f}")
        process.paused_until = self._city.loop.now + seconds

    def _cut(self) -> None:
        dice = self._city.dice
        start, end = dice.sample([self._city.hosts[name] for name in sorted(self._city.hosts)], 2)
        one_way, seconds = dice.random() < 0.4, dice.uniform(1.0, 60.0)
        self._city.fault("cut", f"{start.name}-{end.name}", f"{seconds:.1f} {one_way}")
        self._city.network.cut(start, end, self._city.loop.now + seconds, one_way=one_way)

    def _cut_off(self) -> None:
        """A front-end without its centre for minutes: claims go on coming in there."""
        dice, hosts = self._city.dice, self._city.hosts
        name = dice.choice(sorted(town.FRONTENDS))
        seconds = dice.uniform(20.0, LONGEST_AWAY)
        self._city.fault("cut off", name, f"{seconds:.1f}")
        self._city.network.cut(hosts["center"], hosts[name], self._city.loop.now + seconds, one_way=False)

    def links_down(self) -> None:
        """Both links at once, for minutes, soon after the counters were told what they may spend."""
        dice, hosts = self._city.dice, self._city.hosts
        for name in sorted(town.FRONTENDS):
            seconds = dice.uniform(60.0, LONGEST_AWAY)
            self._city.fault("cut off", name, f"{seconds:.1f}")
            self._city.network.cut(hosts["center"], hosts[name], self._city.loop.now + seconds, one_way=False)

    def _wipe(self) -> None:
        name = self._city.dice.choice(sorted(self._city.brokers))
        self._city.fault("wipe", name)
        self._city.brokers[name].wipe()

    def _broker_away(self) -> None:
        dice = self._city.dice
        broker = self._city.brokers[dice.choice(sorted(self._city.brokers))]
        self._city.fault("broker away", broker.name)
        broker.down_until = self._city.loop.now + dice.uniform(1.0, 30.0)
        if dice.random() < 0.5:
            broker.wipe()

    def _clock(self) -> None:
        dice = self._city.dice
        host = self._city.hosts[dice.choice(sorted(self._city.hosts))]
        skew = self._city.profile.skew_seconds
        if skew:
            host.offset = round(dice.uniform(-skew, skew), 3)
            self._city.fault("clock", host.name, f"{host.offset}")
