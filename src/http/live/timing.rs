//! What a live socket does by the clock: heartbeat, expiry of its token, its own age, the limit of messages. Pure.

use std::time::Duration;

use tokio::time::Instant;

/// The first frame comes within so long.
pub const HELLO: Duration = Duration::from_secs(5);
/// `token_due` is sent so long before the token expires; of tokens that live shorter, after half their life.
const TOKEN_DUE: Duration = Duration::from_mins(1);
/// A socket lives about so long.
const MAX_AGE: Duration = Duration::from_hours(24);
/// Messages that a client may send in a minute.
const MESSAGES: u32 = 100;

/// Lengths that an operator may set.
#[derive(Debug, Clone, Copy)]
pub struct Beat {
    /// Between two pings, about.
    pub ping: Duration,
    /// Without anything heard for so long after a ping, the client is dead.
    pub pong: Duration,
    /// An expired token is borne so long.
    pub grace: Duration,
    /// A new token is asked for so long before the old one expires: see [`renewal`].
    pub renewal: Duration,
}

/// How long before its end a token is asked for that lives so long. Less than its life: a new one would be asked for at
/// once again, and without end.
pub fn renewal(life: Duration) -> Duration {
    TOKEN_DUE.min(life / 2)
}

/// What is due now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Nothing.
    Nothing,
    /// Send a ping.
    Ping,
    /// Ask for a new token; so many seconds are left.
    Renew(u32),
    /// The token has expired, and its grace is over.
    Expired,
    /// The client gave no sign of life.
    Dead,
    /// The socket is old: its client comes back, perhaps to another node.
    Old,
}

/// When what is due on one socket.
#[derive(Debug)]
pub struct Timing {
    beat: Beat,
    ping_at: Instant,
    dead_at: Option<Instant>,
    token_due_at: Option<Instant>,
    expires_at: Instant,
    old_at: Instant,
    minute_from: Instant,
    messages: u32,
}

impl Timing {
    /// A socket that begins now with a token that is valid for so long. `jitter` from 0 to 1 spreads many sockets.
    pub fn new(beat: Beat, now: Instant, token_left: Duration, jitter: f64) -> Self {
        let beat = Beat { ping: spread(beat.ping, 0.1, jitter), ..beat };
        Self {
            beat,
            ping_at: now + beat.ping,
            dead_at: None,
            token_due_at: Some(now + token_left.saturating_sub(beat.renewal)),
            expires_at: now + token_left,
            old_at: now + spread(MAX_AGE, 0.2, jitter),
            minute_from: now,
            messages: 0,
        }
    }

    /// A new token is valid for so long.
    pub fn renewed(&mut self, now: Instant, token_left: Duration) {
        self.token_due_at = Some(now + token_left.saturating_sub(self.beat.renewal));
        self.expires_at = now + token_left;
    }

    /// The client sent something; whether it still may. That it lives puts off its end, and never a ping: a ping has
    /// the heads and digests by which a client sees that something is kept from it.
    pub fn heard(&mut self, now: Instant) -> bool {
        self.dead_at = None;
        if now.duration_since(self.minute_from) >= Duration::from_mins(1) {
            (self.minute_from, self.messages) = (now, 0);
        }
        self.messages += 1;
        self.messages <= MESSAGES
    }

    /// When to look again.
    pub fn next(&self) -> Instant {
        let ping = self.dead_at.map_or(self.ping_at, |dead_at| dead_at.min(self.ping_at));
        let token = self.token_due_at.unwrap_or(self.expires_at + self.beat.grace);
        ping.min(token).min(self.old_at)
    }

    /// What is due; call again until it is nothing.
    pub fn due(&mut self, now: Instant) -> Due {
        if now >= self.expires_at + self.beat.grace {
            return Due::Expired;
        }
        if now >= self.old_at {
            return Due::Old;
        }
        if self.dead_at.is_some_and(|at| now >= at) {
            return Due::Dead;
        }
        if self.token_due_at.is_some_and(|at| now >= at) {
            self.token_due_at = None;
            let left = self.expires_at.saturating_duration_since(now).as_secs();
            return Due::Renew(u32::try_from(left).unwrap_or(u32::MAX));
        }
        if now >= self.ping_at {
            self.ping_at = now + self.beat.ping;
            // What is not answered yet does not become younger by being asked again.
            self.dead_at.get_or_insert(now + self.beat.pong);
            return Due::Ping;
        }
        Due::Nothing
    }
}

fn spread(duration: Duration, by: f64, jitter: f64) -> Duration {
    duration.mul_f64(1.0 + by * (2.0 * jitter - 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEAT: Beat = Beat {
        ping: Duration::from_secs(25),
        pong: Duration::from_secs(10),
        grace: Duration::from_secs(15),
        renewal: TOKEN_DUE,
    };

    fn timing(now: Instant, token_s: u64) -> Timing {
        Timing::new(BEAT, now, Duration::from_secs(token_s), 0.5)
    }

    fn at(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn a_silent_client_is_pinged_and_then_dead_and_any_sign_of_life_puts_that_off() {
        let start = Instant::now();
        let mut timing = timing(start, 9_000);
        assert_eq!(timing.next(), at(start, 25));
        assert_eq!(timing.due(at(start, 24)), Due::Nothing);
        assert_eq!(timing.due(at(start, 25)), Due::Ping);
        assert_eq!(timing.due(at(start, 34)), Due::Nothing);
        assert!(timing.heard(at(start, 34)));
        assert_eq!(timing.due(at(start, 49)), Due::Nothing);
        assert_eq!(timing.due(at(start, 50)), Due::Ping);
        assert_eq!(timing.due(at(start, 60)), Due::Dead);
    }

    #[test]
    fn a_client_that_says_something_all_the_time_is_pinged_as_often_as_a_silent_one() {
        let start = Instant::now();
        let mut timing = timing(start, 9_000);
        let mut pings = 0;
        for second in 0..=100 {
            timing.heard(at(start, second));
            pings += u32::from(timing.due(at(start, second)) == Due::Ping);
        }
        assert_eq!(pings, 4);
    }

    #[test]
    fn a_client_is_dead_in_time_also_where_pings_come_faster_than_answers_may() {
        let start = Instant::now();
        let beat = Beat { ping: Duration::from_secs(4), ..BEAT };
        let mut timing = Timing::new(beat, start, Duration::from_secs(9_000), 0.5);
        let due: Vec<Due> = (0..=14).map(|second| timing.due(at(start, second))).collect();
        assert_eq!(due.iter().filter(|due| **due == Due::Ping).count(), 3);
        assert_eq!(due.last(), Some(&Due::Dead));
    }

    #[test]
    fn a_token_is_asked_for_once_a_minute_before_it_expires_and_borne_for_its_grace() {
        let start = Instant::now();
        let mut timing = timing(start, 300);
        assert_eq!(timing.due(at(start, 25)), Due::Ping);
        timing.heard(at(start, 239));
        timing.ping_at = at(start, 999);
        assert_eq!(timing.due(at(start, 239)), Due::Nothing);
        assert_eq!(timing.due(at(start, 240)), Due::Renew(60));
        assert_eq!(timing.due(at(start, 241)), Due::Nothing);
        assert_ne!(timing.due(at(start, 314)), Due::Expired);
        assert_eq!(timing.due(at(start, 315)), Due::Expired);
        timing.renewed(at(start, 314), Duration::from_mins(5));
        assert_ne!(timing.due(at(start, 400)), Due::Expired);
    }

    #[test]
    fn a_token_of_a_short_life_is_asked_for_once_in_half_its_life() {
        let (start, life) = (Instant::now(), Duration::from_secs(10));
        let mut timing = Timing::new(Beat { renewal: renewal(life), ..BEAT }, start, life, 0.5);
        let mut asked = Vec::new();
        for second in 0..=12 {
            if let Due::Renew(left) = timing.due(at(start, second)) {
                asked.push((second, left));
                timing.renewed(at(start, second), life);
            }
        }
        assert_eq!(asked, [(5, 5), (10, 5)]);
        assert_eq!(renewal(Duration::from_mins(5)), Duration::from_mins(1));
    }

    #[test]
    fn a_hundred_messages_a_minute_are_enough() {
        let start = Instant::now();
        let mut timing = timing(start, 9_000);
        assert!((0..100).all(|_| timing.heard(at(start, 3))));
        assert!(!timing.heard(at(start, 59)));
        assert!(timing.heard(at(start, 60)));
    }

    #[test]
    fn an_old_socket_ends_and_jitter_spreads_the_ends() {
        let start = Instant::now();
        let age = |jitter| Timing::new(BEAT, start, Duration::from_hours(99), jitter).old_at - start;
        assert!(age(0.0) < Duration::from_hours(20) && age(1.0) > Duration::from_hours(28));
        assert_eq!(timing(start, 999_999).due(at(start, 24 * 3600)), Due::Old);
    }

    #[test]
    fn there_is_never_something_due_before_the_time_that_next_names() {
        let start = Instant::now();
        let mut timing = timing(start, 100);
        for _ in 0..200 {
            let next = timing.next();
            assert_eq!(timing.due(next - Duration::from_millis(1)), Due::Nothing);
            match timing.due(next) {
                Due::Nothing => panic!("nothing is due at the time that was named"),
                Due::Expired | Due::Old => return,
                Due::Ping => drop(timing.heard(next)),
                _ => {}
            }
        }
        panic!("the socket never ends");
    }
}
