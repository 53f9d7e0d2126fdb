//! The member `answer` of the column `options`, which both stores write.

use crate::id::Offset;
use crate::wire::stream::AnswerOptions;
use serde::{Deserialize, Serialize};

/// The options of an answer. The SQL of PostgreSQL reads it, so its members keep their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct AnswerJson {
    question: u64,
    give_up_ms: u32,
    answer_ms: u32,
}

impl From<AnswerOptions> for AnswerJson {
    fn from(options: AnswerOptions) -> AnswerJson {
        let AnswerOptions { question, give_up_ms, answer_ms } = options;
        AnswerJson { question: question.0, give_up_ms, answer_ms }
    }
}

impl From<AnswerJson> for AnswerOptions {
    fn from(column: AnswerJson) -> AnswerOptions {
        let AnswerJson { question, give_up_ms, answer_ms } = column;
        AnswerOptions { question: Offset(question), give_up_ms, answer_ms }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_an_answer_are_read_back_and_have_the_names_that_the_database_reads() {
        let options = AnswerOptions { question: Offset(58), give_up_ms: 3_600_000, answer_ms: 120_000 };
        let json = serde_json::to_string(&AnswerJson::from(options)).expect("JSON");
        assert_eq!(json, r#"{"question":58,"give_up_ms":3600000,"answer_ms":120000}"#);
        let column: AnswerJson = serde_json::from_str(&json).expect("its own JSON");
        assert_eq!(AnswerOptions::from(column), options);
    }
}
