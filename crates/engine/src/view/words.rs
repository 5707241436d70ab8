//! The state of a container in Docker's words.

use super::{StateView, Status};
use jiff::Timestamp;

impl StateView {
    /// Docker's word for the whole.
    pub fn as_str(&self) -> &'static str {
        if self.paused { "paused" } else { self.status.as_str() }
    }

    /// Docker's status column: `Created`, `Up 5 minutes`, `Exited (0) 2 hours ago`.
    pub fn summary(&self, now: Timestamp) -> String {
        let ago = |t: Option<Timestamp>| human_duration(t.map_or(0, |t| (now.as_second() - t.as_second()).max(0)));
        match self.status {
            Status::Created => "Created".to_owned(),
            Status::Running if self.paused => format!("Up {} (Paused)", ago(self.started_at)),
            Status::Running => match &self.health {
                Some(health) => format!("Up {} ({})", ago(self.started_at), health.status.listed()),
                None => format!("Up {}", ago(self.started_at)),
            },
            Status::Restarting => {
                let reason = self.restarting.as_ref().and_then(|r| r.reason.as_deref());
                let why = reason.map_or_else(String::new, |reason| format!(" ({reason})"));
                format!("Restarting ({}) {} ago{why}", self.exit_code, ago(self.finished_at))
            }
            Status::Exited if self.finished_at.is_none() => "Created".to_owned(),
            Status::Exited => format!("Exited ({}) {} ago", self.exit_code, ago(self.finished_at)),
            Status::Removing => "Removal In Progress".to_owned(),
            Status::Dead => "Dead".to_owned(),
        }
    }
}

/// A duration in Docker's words (go-units `HumanDuration`).
pub fn human_duration(seconds: i64) -> String {
    let (minutes, hours) = (seconds / 60, (seconds + 1800) / 3600);
    match (seconds, minutes, hours) {
        (..1, ..) => "Less than a second".to_owned(),
        (1, ..) => "1 second".to_owned(),
        (..60, ..) => format!("{seconds} seconds"),
        (_, 1, _) => "About a minute".to_owned(),
        (_, ..60, _) => format!("{minutes} minutes"),
        (.., 1) => "About an hour".to_owned(),
        (.., ..48) => format!("{hours} hours"),
        (.., ..336) => format!("{} days", hours / 24),
        (.., ..1440) => format!("{} weeks", hours / 24 / 7),
        (.., ..17520) => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", hours / 24 / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{HealthStatus, HealthView, Restarting};
    use super::*;

    #[test]
    fn durations_in_dockers_words() {
        for (s, want) in [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (119, "About a minute"),
            (120, "2 minutes"),
            (3599, "59 minutes"),
            (3600, "About an hour"),
            (7200, "2 hours"),
            (3 * 86400, "3 days"),
            (15 * 86400, "2 weeks"),
            (70 * 86400, "2 months"),
            (800 * 86400, "2 years"),
        ] {
            assert_eq!(human_duration(s), want, "{s}");
        }
    }

    #[test]
    fn summaries() {
        let now = Timestamp::from_second(1000).unwrap();
        let state = |status, exit_code| StateView {
            status,
            exit_code,
            started_at: Timestamp::from_second(700).ok(),
            finished_at: Timestamp::from_second(940).ok(),
            ..StateView::default()
        };
        assert_eq!(state(Status::Running, 0).summary(now), "Up 5 minutes");
        assert_eq!(state(Status::Exited, 137).summary(now), "Exited (137) About a minute ago");
        assert_eq!(StateView::default().summary(now), "Created");
        let paused = StateView { paused: true, ..state(Status::Running, 0) };
        assert_eq!((paused.summary(now).as_str(), paused.as_str()), ("Up 5 minutes (Paused)", "paused"));
        assert_eq!(state(Status::Running, 0).as_str(), "running");
        let mut again = StateView { finished_at: Timestamp::from_second(995).ok(), ..state(Status::Restarting, 1) };
        assert_eq!((again.summary(now).as_str(), again.as_str()), ("Restarting (1) 5 seconds ago", "restarting"));
        again.restarting = Some(Restarting { reason: Some("unhealthy".into()), ..Restarting::default() });
        assert_eq!(again.summary(now), "Restarting (1) 5 seconds ago (unhealthy)");
        for (health, want) in [
            (HealthStatus::Starting, "Up 5 minutes (health: starting)"),
            (HealthStatus::Healthy, "Up 5 minutes (healthy)"),
            (HealthStatus::Unhealthy, "Up 5 minutes (unhealthy)"),
        ] {
            let health = Some(HealthView { status: health, ..HealthView::default() });
            assert_eq!(StateView { health: health.clone(), ..state(Status::Running, 0) }.summary(now), want);
            assert_eq!(StateView { health, ..paused.clone() }.summary(now), "Up 5 minutes (Paused)");
        }
    }
}
