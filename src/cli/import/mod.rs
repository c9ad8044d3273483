//! `user import`: takes over the users of another service from its export.
//!
//! A file is read twice: first to see that all of it is good, and then to make the users, in one
//! transaction. So a large file takes little memory, and a bad one changes nothing. Nothing that is told
//! holds a value of the file: it could be a hash.

mod django;
mod firebase;
mod json;
mod json_lines;
mod keycloak;
mod kratos;
mod ldif;
mod lines;
mod progress;
mod record;
mod source;
mod survey;
mod table;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::json;

use progress::{Distance, Progress};
use record::{Record, Refusal, Rules, Seen};
use source::{Reading, Source, System};
use survey::Survey;

use super::hashes::Price;
use super::output::{self, say};
use crate::admin::{Admin, Conflict};
use crate::config::Config;
use crate::domain::{Operator, TwoFactor};
use crate::store::NewUser;

/// Users looked up or made at once.
const BATCH: usize = 1_000;

/// Refusals told one by one before the others are only counted, and where they are asked for.
const MAX_TOLD: usize = 20;
const MAX_TOLD_IF_ASKED: usize = 1_000;

#[derive(Debug, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag on the command line"
)]
pub(super) struct ImportArgs {
    /// The file; `-` reads standard input
    file: PathBuf,
    /// The system that the file was exported from
    #[arg(long, value_enum, value_name = "SYSTEM", default_value = "json-lines")]
    from: System,
    /// The hash parameters of a Firebase project, as its console shows them
    #[arg(long, value_name = "FILE")]
    firebase_config: Option<PathBuf>,
    /// Whether signing in takes a mailed code, for users of whom the file does not say it
    #[arg(long, value_name = "email|off", default_value = "email")]
    two_factor: TwoFactor,
    /// Give everybody a new number, even if the file has one
    #[arg(long)]
    new_numbers: bool,
    /// Leave out those who cannot be imported, instead of importing nobody
    #[arg(long)]
    skip_refused: bool,
    /// Tell what would happen, and change nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(
    admin: &Admin,
    actor: &Operator,
    config: &Config,
    args: &ImportArgs,
) -> anyhow::Result<()> {
    let job = Job::new(admin, actor, config, args)?;
    let mut survey = job.survey().await?;
    if args.dry_run {
        job.tell_survey(&mut survey).await
    } else {
        job.import(&mut survey).await
    }
}

/// An import, with all that it needs.
struct Job<'a> {
    admin: &'a Admin,
    actor: &'a Operator,
    config: &'a Config,
    args: &'a ImportArgs,
    source: Source,
    unit: &'static str,
}

impl<'a> Job<'a> {
    fn new(
        admin: &'a Admin,
        actor: &'a Operator,
        config: &'a Config,
        args: &'a ImportArgs,
    ) -> anyhow::Result<Self> {
        let source = Source::new(&args.file, args.from, args.firebase_config.as_deref())?;
        Ok(Self {
            admin,
            actor,
            config,
            args,
            unit: source.unit(),
            source,
        })
    }

    /// Reads the file from its beginning.
    fn people(&self, doing: &'static str) -> anyhow::Result<People> {
        let reading = self.source.open();
        Ok(People {
            reading: reading.with_context(|| self.source.cannot_read())?,
            rules: Rules {
                passwords: self.config.passwords,
                two_factor: self.args.two_factor,
                gives_new_numbers: self.args.new_numbers,
            },
            seen: Seen::default(),
            progress: Progress::new(doing, self.unit, self.args.json),
            records: 0,
        })
    }

    /// Looks at all of the file, and at the users who are there already.
    async fn survey(&self) -> anyhow::Result<Survey> {
        let mut survey = Survey::default();
        let mut people = self.people("checking")?;
        let is_asked = self.args.dry_run || self.args.skip_refused;
        let told = if is_asked {
            MAX_TOLD_IF_ASKED
        } else {
            MAX_TOLD
        };
        loop {
            let batch = people.next_batch();
            let batch = batch.with_context(|| self.source.cannot_read())?;
            if batch.is_empty() {
                return Ok(survey);
            }
            for (number, refusal) in batch.refused {
                survey.refused.add(number, refusal, self.unit, told);
            }
            let mut clashes = self
                .admin
                .find_clashes(&batch.users)
                .await?
                .into_iter()
                .peekable();
            for (index, user) in batch.users.iter().enumerate() {
                match clashes.next_if(|clash| clash.index == index) {
                    None => survey.add(user),
                    Some(clash) => {
                        let refusal = match clash.conflict {
                            Conflict::Address => Refusal::AddressTaken,
                            Conflict::Number => Refusal::NumberTaken,
                        };
                        survey
                            .refused
                            .add(batch.numbers[index], refusal, self.unit, told);
                    }
                }
            }
        }
    }

    /// Tells what an import would do.
    async fn tell_survey(&self, survey: &mut Survey) -> anyhow::Result<()> {
        let price = self.price(survey).await?;
        if self.args.json {
            let mut told = survey.json(self.unit);
            told["price"] = price.json();
            output::json(&told);
        } else {
            survey.print();
            for sentence in price.sentences() {
                say!("{sentence}");
            }
            survey.refused.tell(self.unit);
        }
        self.check(survey)
    }

    async fn import(&self, survey: &mut Survey) -> anyhow::Result<()> {
        survey.refused.tell(self.unit);
        self.check(survey)?;
        let made = self.write(survey).await?;
        let price = self.price(survey).await;
        let price =
            price.context("the users were imported; the cost of their hashes is not known")?;
        if self.args.json {
            output::json(&json!({
                "imported": made,
                "refused": survey.refused.count,
                "price": price.json(),
            }));
        } else {
            let users = if made == 1 { "user" } else { "users" };
            say!("{made} {users} imported.");
            for sentence in price.sentences() {
                say!("{sentence}");
            }
        }
        Ok(())
    }

    async fn price(&self, survey: &Survey) -> anyhow::Result<Price> {
        let passwords = &self.config.passwords;
        Price::of(self.admin, &survey.hashes, survey.invited, passwords).await
    }

    /// Refuses a file with people who cannot be imported, unless they are to be left out.
    fn check(&self, survey: &Survey) -> anyhow::Result<()> {
        match survey.refused.count {
            0 => Ok(()),
            _ if self.args.skip_refused => Ok(()),
            count => bail!(
                "nothing {}: {count} cannot be; correct the file, or leave them out with \
                 --skip-refused",
                if self.args.dry_run {
                    "would be imported"
                } else {
                    "was imported"
                }
            ),
        }
    }

    /// Makes the users, all in one transaction.
    async fn write(&self, survey: &Survey) -> anyhow::Result<usize> {
        let mut import = self.admin.begin_import(self.actor, survey.highest).await?;
        let mut people = self.people("importing")?;
        let (mut made, mut left_out) = (0, 0);
        loop {
            let batch = people.next_batch();
            let batch = batch.with_context(|| self.source.cannot_read())?;
            if batch.is_empty() {
                break;
            }
            let missing = import.add(&batch.users).await?.len();
            made += batch.users.len() - missing;
            left_out += batch.refused.len() + missing;
        }
        if (made, left_out) == (survey.users(), survey.refused.count) {
            import.commit().await?;
            return Ok(made);
        }
        import.undo().await?;
        bail!("nothing was imported: the file or the users changed meanwhile; try again")
    }
}

/// The people of a file, checked one by one and against each other.
struct People {
    reading: Reading,
    rules: Rules,
    seen: Seen,
    progress: Progress,
    records: u64,
}

/// Some people of a file.
#[derive(Default)]
struct Batch {
    /// The records of `users`.
    numbers: Vec<usize>,
    users: Vec<NewUser>,
    refused: Vec<(usize, Refusal)>,
}

impl Batch {
    fn is_empty(&self) -> bool {
        self.users.is_empty() && self.refused.is_empty()
    }
}

impl People {
    /// The next ones; an empty batch at the end of the file.
    fn next_batch(&mut self) -> anyhow::Result<Batch> {
        let mut batch = Batch::default();
        while batch.numbers.len() + batch.refused.len() < BATCH
            && let Some(record) = self.reading.records.next()
        {
            let Record { number, person } = record?;
            self.records += 1;
            let user = person.and_then(|person| self.rules.apply(person));
            let user = user.and_then(|user| self.seen.check(number, &user).map(|()| user));
            match user {
                Ok(user) => {
                    batch.numbers.push(number);
                    batch.users.push(user);
                }
                Err(refusal) => batch.refused.push((number, refusal)),
            }
        }
        self.progress.tell(Distance {
            records: self.records,
            bytes: self.reading.read.get(),
            size: self.reading.size,
        });
        Ok(batch)
    }
}
