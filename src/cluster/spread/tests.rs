//! Instances in front of which a load balancer chooses, simulated a second at a time.

use super::*;
use std::collections::VecDeque;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Balancer {
    LeastConnections,
    Random,
    /// At random, but it follows hints.
    Hints,
}

struct Instance {
    spread: Spread,
    name: Arc<str>,
    connections: u64,
    published: u64,
    moves: Moves,
}

/// A client on its way.
struct Mover {
    arrives: u64,
    from: usize,
    to: Arc<str>,
}

struct Simulation {
    balancer: Balancer,
    instances: Vec<Instance>,
    movers: VecDeque<Mover>,
    random: Random,
    second: u64,
    moved: u64,
    came_back: u64,
}

impl Simulation {
    /// Instances whose last one has just restarted: its clients are on the others.
    fn restarted_last(balancer: Balancer, count: usize, each: u64, seed: u64) -> Simulation {
        let mut random = Random::seeded(seed);
        let instances = (0..count).map(|index| Instance {
            spread: Spread::new(Moment::ZERO),
            name: format!("gw-{index:02}").into(),
            connections: 0,
            published: 0,
            moves: Moves::default(),
        });
        let mut instances: Vec<Instance> = instances.collect();
        for _ in 0..each * count as u64 {
            let at = match balancer {
                Balancer::LeastConnections => least(&instances[..count - 1]),
                Balancer::Random | Balancer::Hints => (random.u64() % (count as u64 - 1)) as usize,
            };
            instances[at].connections += 1;
        }
        Simulation { balancer, instances, movers: VecDeque::new(), random, second: 0, moved: 0, came_back: 0 }
    }

    fn second(&mut self, within: Option<f64>) {
        self.second += 1;
        while self.movers.front().is_some_and(|mover| mover.arrives <= self.second) {
            let mover = self.movers.pop_front().expect("just seen");
            self.arrive(&mover);
        }
        for index in 0..self.instances.len() {
            if (self.second + index as u64).is_multiple_of(5) {
                self.instances[index].published = self.instances[index].connections;
            }
        }
        for index in 0..self.instances.len() {
            let others: Vec<InstanceLoad> = self
                .instances
                .iter()
                .enumerate()
                .filter(|(other, _)| *other != index)
                .map(|(_, other)| InstanceLoad {
                    name: Arc::clone(&other.name),
                    connections: other.published,
                })
                .collect();
            let it = &mut self.instances[index];
            let sight = Sight {
                connections: it.connections,
                others: &others,
                picture: Picture::Whole,
                longest_turn: Duration::ZERO,
                moves: it.moves,
            };
            let now = Moment::ZERO + PERIOD * self.second as u32;
            for to in it.spread.decide(now, &sight, within, &mut self.random) {
                it.moves.asked += 1;
                it.moves.waiting += 1;
                self.moved += 1;
                self.movers.push_back(Mover { arrives: self.second + 2, from: index, to });
            }
        }
    }

    /// A client opens its new connection, and closes the old one.
    fn arrive(&mut self, mover: &Mover) {
        let count = self.instances.len();
        let at = match self.balancer {
            Balancer::LeastConnections => least(&self.instances),
            Balancer::Random => (self.random.u64() % count as u64) as usize,
            Balancer::Hints => self.instances.iter().position(|it| it.name == mover.to).expect("a name"),
        };
        self.instances[at].connections += 1;
        if self.instances[at].name != mover.to {
            self.instances[at].moves.returned += 1;
        }
        self.came_back += u64::from(at == mover.from);
        self.instances[mover.from].connections -= 1;
        self.instances[mover.from].moves.waiting -= 1;
    }

    /// The largest and the smallest count, as a share of the mean.
    fn extremes(&self) -> (f64, f64) {
        let counts = self.instances.iter().map(|it| it.connections as f64);
        let mean = counts.clone().sum::<f64>() / self.instances.len() as f64;
        (counts.clone().fold(0.0, f64::max) / mean, counts.fold(f64::MAX, f64::min) / mean)
    }

    /// Runs until all counts are within a tenth of the mean; the seconds after the first ask, or `None` after this many.
    fn until_even(&mut self, most: u64) -> Option<u64> {
        let mut began = None;
        for _ in 0..most {
            self.second(Some(0.1));
            if self.moved > 0 {
                began.get_or_insert(self.second);
            }
            let (max, min) = self.extremes();
            if max <= 1.1 && min >= 0.9 {
                return Some(self.second - began.unwrap_or(self.second));
            }
        }
        None
    }

    fn share_moved(&self) -> f64 {
        self.moved as f64 / self.instances.iter().map(|it| it.connections).sum::<u64>() as f64
    }
}

fn least(instances: &[Instance]) -> usize {
    let counts = instances.iter().enumerate().map(|(index, it)| (it.connections, index));
    counts.min().expect("an instance").1
}

#[test]
fn hints_or_least_connections_even_out_a_restart_within_a_minute() {
    for seed in 1..=5 {
        for balancer in [Balancer::Hints, Balancer::LeastConnections] {
            for (count, each) in [(2, 100), (3, 2_000), (5, 200), (10, 2_000), (30, 300)] {
                let mut world = Simulation::restarted_last(balancer, count, each, seed);
                let took = world.until_even(300);
                let case = format!("{balancer:?} {count} {seed}: {took:?}, {:?}", world.extremes());
                assert!(took.is_some_and(|took| took <= 75), "{case}");
                assert!(
                    world.share_moved() <= 1.6 / count as f64 + 0.02,
                    "{case}: moved {}",
                    world.share_moved()
                );
                // It stays so, and nothing swings back and forth.
                let before = world.moved;
                for _ in 0..120 {
                    world.second(Some(0.1));
                }
                let (max, min) = world.extremes();
                assert!(max <= 1.1 && min >= 0.9, "{case} then {max} {min}");
                assert!((world.moved - before) as f64 <= 0.05 * (each * count as u64) as f64, "{case}");
            }
        }
    }
}

#[test]
fn random_balancer_without_hints_ends_the_round_instead_of_moving_clients_for_ever() {
    for seed in 1..=5 {
        let mut world = Simulation::restarted_last(Balancer::Random, 10, 1_000, seed);
        for _ in 0..600 {
            world.second(Some(0.1));
        }
        let states: Vec<SpreadState> = world.instances.iter().map(|it| it.spread.state()).collect();
        assert!(!states.contains(&SpreadState::Moving), "{states:?}");
        assert!(world.share_moved() < 1.0, "{}", world.share_moved());
        let (moved, (max, min)) = (world.moved, world.extremes());
        assert!(max < 1.5 && min > 0.3, "it is better than before: {max} {min}");
        for _ in 0..300 {
            world.second(Some(0.1));
        }
        assert_eq!(world.moved, moved);
    }
}

fn loads(counts: &[u64]) -> Vec<InstanceLoad> {
    let named = |(index, count): (usize, &u64)| InstanceLoad {
        name: format!("gw-{index}").into(),
        connections: *count,
    };
    counts.iter().enumerate().map(named).collect()
}

fn sight(own: u64, others: &[InstanceLoad]) -> Sight<'_> {
    Sight {
        connections: own,
        others,
        picture: Picture::Whole,
        longest_turn: Duration::ZERO,
        moves: Moves::default(),
    }
}

fn at(second: u64) -> Moment {
    Moment::from_micros(second * 1_000_000)
}

#[test]
fn nothing_is_asked_in_the_wrong_moment() {
    let others = loads(&[0, 1_000]);
    let whole = sight(2_000, &others);
    let decide = |at_s: u64, sight: &Sight<'_>, within| {
        let mut spread = Spread::new(at(0));
        spread.watch(at(0), sight.others);
        (spread.decide(at(at_s), sight, within, &mut Random::seeded(1)).len(), spread.state())
    };
    assert_eq!(decide(30, &whole, Some(0.1)), (20, SpreadState::Moving));
    assert_eq!(decide(29, &whole, Some(0.1)), (0, SpreadState::Waiting), "the instances changed lately");
    assert_eq!(decide(30, &whole, None), (0, SpreadState::Even), "nothing is wanted");
    let partial = Sight { picture: Picture::Partial, ..whole };
    assert_eq!(decide(30, &partial, Some(0.1)), (0, SpreadState::Waiting), "one of them drains");
    let busy = Sight { longest_turn: Duration::from_millis(51), ..whole };
    assert_eq!(decide(30, &busy, Some(0.1)), (0, SpreadState::Waiting), "turns are long");
    assert_eq!(decide(30, &sight(2_000, &[]), Some(0.1)), (0, SpreadState::Even), "alone");
    let waiting = Sight { moves: Moves { asked: 1_000, waiting: 1_000, ..Moves::default() }, ..whole };
    assert_eq!(
        decide(30, &waiting, Some(0.1)),
        (0, SpreadState::Even),
        "the clients that were asked are leaving"
    );
}

#[test]
fn small_surplus_helps_only_an_instance_that_lacks_connections() {
    let decide = |own: u64, others: &[u64]| {
        let others = loads(others);
        let mut spread = Spread::new(at(0));
        spread.watch(at(0), &others);
        spread.decide(at(40), &sight(own, &others), Some(0.1), &mut Random::seeded(1)).len()
    };
    assert_eq!(decide(1_050, &[1_000, 950]), 0, "all are within a tenth");
    assert!(decide(1_050, &[1_100, 850]) > 0, "the last one lacks a tenth");
    assert_eq!(decide(1_000, &[1_150, 850]), 0, "the mean helps neither");
}

#[test]
fn targets_are_drawn_in_proportion_to_what_they_lack() {
    let others = loads(&[1_500, 700, 900]);
    let drawn = draw(&others, MeanShares::of(&others, 900, 0.1), 4_000, &mut Random::seeded(3));
    let share = |name: &str| drawn.iter().filter(|it| &***it == name).count() as f64 / drawn.len() as f64;
    assert_eq!(share("gw-0"), 0.0);
    assert!((share("gw-1") - 0.75).abs() < 0.03 && (share("gw-2") - 0.25).abs() < 0.03);
    let even = loads(&[1_000]);
    assert!(draw(&even, MeanShares::of(&even, 1_000, 0.1), 5, &mut Random::seeded(3)).is_empty());
}

#[test]
fn fractions_of_a_client_add_up_over_seconds() {
    let others = loads(&[10, 10]);
    let mut spread = Spread::new(at(0));
    spread.watch(at(0), &others);
    let mut random = Random::seeded(1);
    let asked: Vec<usize> = (40..50)
        .map(|second| spread.decide(at(second), &sight(40, &others), Some(0.1), &mut random).len())
        .collect();
    assert_eq!(asked.iter().sum::<usize>(), 4, "{asked:?}");
}

#[test]
fn absurd_loads_of_others_move_no_client() {
    let mut spread = Spread::new(Moment::ZERO);
    let others = ["a", "b"].map(|name| InstanceLoad { name: Arc::from(name), connections: u64::MAX });
    let mut random = Random::seeded(1);
    for second in 0..120 {
        let sight = Sight {
            connections: 1_000,
            others: &others,
            picture: Picture::Whole,
            longest_turn: Duration::ZERO,
            moves: Moves::default(),
        };
        let asked = spread.decide(Moment::ZERO + PERIOD * second, &sight, Some(0.1), &mut random);
        assert_eq!(asked, Vec::<Arc<str>>::new());
    }
}
