"""How many deliveries are open at once, and for whom."""

from service.workers.delivery_limiter import BYTES, DeliveryLimiter, Group, Standing

PLACES = 128


class BusyLane:
    """Takes one place whenever it is pumped and may."""

    def __init__(self, limiter: DeliveryLimiter, group: Group, wants: int = 1, size: int = 0) -> None:
        self.limiter, self.group, self.wants, self.size = limiter, group, wants, size
        self.open = 0

    def pump(self) -> None:
        while self.open < self.wants:
            if not self.limiter.allows(self.group, self.size):
                self.limiter.wait(self, self.group)
                return
            self.limiter.take(self.group, self.size)
            self.open += 1

    def done(self) -> None:
        self.open -= 1
        self.wants -= 1
        self.limiter.release(self.group, self.size)


def hog(
    limiter: DeliveryLimiter, owner: str, standing: Standing, host: str | None = None, size: int = 0
) -> list[BusyLane]:
    group = limiter.group(owner, standing, host)
    lanes = [BusyLane(limiter, group, size=size) for _ in range(1000)]
    for lane in lanes:
        lane.pump()
    return lanes


def opened(lanes: list[BusyLane]) -> int:
    return sum(lane.open for lane in lanes)


def test_failing_receivers_leave_room_for_the_healthy_ones_of_their_owner() -> None:
    limiter = DeliveryLimiter(PLACES)
    failing = hog(limiter, "alice", Standing.FAILING)
    assert 30 < opened(failing) < PLACES / 2
    assert opened(hog(limiter, "alice", Standing.HEALTHY)) > 8


def test_an_owner_who_takes_all_it_gets_leaves_room_for_everybody() -> None:
    limiter = DeliveryLimiter(PLACES)
    for owner in range(10):
        for standing in Standing:
            for host in range(20):
                hog(limiter, f"owner {owner}", standing, f"host {host}")
        innocent = limiter.group("innocent", Standing.NEW)
        assert limiter.allows(innocent)


def test_pings_of_one_owner_are_few() -> None:
    assert opened(hog(DeliveryLimiter(PLACES), "alice", Standing.PING)) == 8


def test_those_who_wait_have_their_turn_first_come_first_served() -> None:
    limiter = DeliveryLimiter(PLACES)
    lanes = hog(limiter, "alice", Standing.NEW)
    at_once = opened(lanes)
    for n in range(len(lanes)):
        assert lanes[n].open == 1
        lanes[n].done()
        assert opened(lanes) == min(at_once, len(lanes) - n - 1)


def test_a_slot_that_nobody_ahead_wants_goes_to_the_next() -> None:
    limiter = DeliveryLimiter(PLACES)
    lanes = hog(limiter, "alice", Standing.NEW)
    at_once = opened(lanes)
    for lane in lanes[at_once : at_once + 100]:
        lane.wants = 0
    lanes[0].done()
    assert lanes[at_once + 100].open == 1


def test_other_owners_have_their_turn_although_one_waits_with_many() -> None:
    limiter = DeliveryLimiter(PLACES)
    hogs = [hog(limiter, name, Standing.NEW, None) for name in ("alice", "bob", "carol")]
    late = BusyLane(limiter, limiter.group("dave", Standing.NEW), wants=30)
    late.pump()
    assert 0 < late.open < 30
    for n in range(60):
        hogs[n % 3][n // 3].done()
    assert late.open > 15


def test_the_bytes_of_open_requests_are_bounded_and_shared() -> None:
    limiter = DeliveryLimiter(PLACES)
    large = hog(limiter, "alice", Standing.HEALTHY, size=4 * 1024 * 1024)
    assert opened(large) * 4 * 1024 * 1024 <= BYTES / 2
    assert limiter.allows(limiter.group("bob", Standing.HEALTHY), 4 * 1024 * 1024)
    first = next(lane for lane in large if lane.open)
    before = opened(large)
    first.done()
    assert opened(large) == before


def test_one_request_larger_than_the_bound_goes_alone() -> None:
    limiter = DeliveryLimiter(PLACES)
    [lane] = [BusyLane(limiter, limiter.group("alice", Standing.NEW), size=2 * BYTES)]
    lane.pump()
    assert lane.open == 1
