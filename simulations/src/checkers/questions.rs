//! Questions: each is answered or refused, once, and soon.

use std::collections::BTreeMap;
use std::time::Duration;

use protocol::time::Moment;

use super::{Checkers, Rule};

/// What was asked a moment ago, by its number, which rises.
#[derive(Debug, Default)]
pub(super) struct Questions {
    asked: BTreeMap<u64, Question>,
}

#[derive(Debug)]
struct Question {
    to: u32,
    what: &'static str,
    at: Moment,
    patience: Duration,
    is_answered: bool,
    /// True when it arrived twice, and may be answered twice.
    is_doubled: bool,
}

impl Checkers {
    /// Notes that a peer is asked something that it has to answer.
    pub fn note_asked(
        &mut self,
        id: u64,
        (to, what): (u32, &'static str),
        patience: Duration,
        now: Moment,
    ) {
        self.look_at_questions(now);
        let question = Question {
            to,
            what,
            at: now,
            patience,
            is_answered: false,
            is_doubled: false,
        };
        let asked = self.questions.asked.entry(id);
        let doubled = asked.and_modify(|question| question.is_doubled = true);
        doubled.or_insert(question);
    }

    /// Notes that a question is answered; says what it was and how long it took.
    pub fn note_answered(&mut self, id: u64, now: Moment) -> Option<(&'static str, Duration)> {
        let question = self.questions.asked.get_mut(&id)?;
        let is_first = !std::mem::replace(&mut question.is_answered, true);
        let (to, what, took) = (question.to, question.what, now - question.at);
        let is_doubled = question.is_doubled;
        self.findings
            .observe(Rule::AnsweredOnce, is_first || is_doubled, now, || {
                format!("peer {to} answers {what} again")
            });
        is_first.then_some((what, took))
    }

    /// Notes that a peer forgets what it was asked.
    pub fn note_forgetful(&mut self, peer: u32) {
        for question in self.questions.asked.values_mut() {
            question.is_answered |= question.to == peer;
        }
    }

    /// Looks at the questions that nobody waits for any more.
    fn look_at_questions(&mut self, now: Moment) {
        while let Some(first) = self.questions.asked.first_entry()
            && first.get().is_over(now)
        {
            let question = first.remove();
            self.look_at_question(&question, now);
        }
    }

    /// Looks at all of them in the end.
    pub fn judge_questions(&mut self, now: Moment) {
        let asked = std::mem::take(&mut self.questions.asked);
        for question in asked.values().filter(|question| question.is_over(now)) {
            self.look_at_question(question, now);
        }
    }

    fn look_at_question(&mut self, question: &Question, now: Moment) {
        let Question { to, what, at, .. } = *question;
        self.findings
            .observe(Rule::Answered, question.is_answered, now, || {
                let seconds = (now - at).as_secs();
                format!("peer {to} did not answer {what} within {seconds} s")
            });
    }
}

impl Question {
    fn is_over(&self, now: Moment) -> bool {
        self.at + self.patience <= now
    }
}
