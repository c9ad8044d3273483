//! How PostgreSQL carries out what a server asks, as it writes it down itself (`auto_explain`).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde_json::Value;

use super::loader::{connect, execute};
use super::measure::quantile;
use super::server::Machine;

/// A statement that mostly touches more pages than this, and twice as many as with few rows, is marked.
const PAGES: f64 = 50.0;

/// Lets PostgreSQL write down how it carries out what is asked over connections from now on.
pub async fn note(machine: &Machine) -> anyhow::Result<()> {
    let pool = connect(&machine.cluster.url("postgres")).await?;
    // Which database it is, and no more.
    let mut statements = vec![
        "ALTER SYSTEM SET log_line_prefix = '%d '".to_owned(),
        "SELECT pg_reload_conf()".to_owned(),
    ];
    for database in ["few", "many"] {
        for setting in [
            "session_preload_libraries = 'auto_explain'",
            "auto_explain.log_min_duration = 0",
            "auto_explain.log_analyze = on",
            "auto_explain.log_buffers = on",
            "auto_explain.log_timing = off",
            "auto_explain.log_format = 'json'",
        ] {
            statements.push(format!("ALTER DATABASE {database} SET {setting}"));
        }
    }
    for statement in statements {
        execute(&pool, statement).await?;
    }
    Ok(())
}

/// How many pages a statement touched in each database, time by time, and the plan that touched most.
#[derive(Debug, Default)]
struct Statement {
    few: Vec<f64>,
    many: Vec<f64>,
    plan: Value,
}

/// Prints each statement once, with the plan that touched most pages of those with many rows.
pub fn print(machine: &Machine) -> anyhow::Result<()> {
    // The log is written a moment after the statement.
    std::thread::sleep(Duration::from_secs(1));
    let log = std::fs::read_to_string(machine.cluster.folder().join("log"))?;
    let mut statements: BTreeMap<String, Statement> = BTreeMap::new();
    for (database, plan) in plans(&log) {
        let text = plan["Query Text"].as_str().unwrap_or_default();
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let pages = pages(&plan["Plan"]);
        let statement = statements.entry(text).or_default();
        if database == "few" {
            statement.few.push(pages);
        } else {
            if statement.many.iter().all(|less| *less < pages) {
                statement.plan = plan;
            }
            statement.many.push(pages);
        }
    }
    println!("pages touched with few rows and with many, and the plan with many (rows found):");
    let asked = |statement: &&Statement| !statement.few.is_empty() && !statement.many.is_empty();
    for (text, statement) in statements.iter().filter(|(_, it)| asked(it)) {
        let (few, pages) = (
            quantile(&statement.few, 0.5),
            quantile(&statement.many, 0.5),
        );
        let grows = pages > PAGES && pages > 2.0 * few;
        let mark = if grows { "GROWS " } else { "" };
        let short: String = text.chars().take(200).collect();
        println!("\n{mark}{few} / {pages}: {short}");
        let mut tree = String::new();
        describe(&statement.plan["Plan"], 1, &mut tree)?;
        print!("{tree}");
        if statement.plan.get("JIT").is_some() {
            println!("  compiled just in time");
        }
    }
    Ok(())
}

/// The plans in a log, each with its database.
fn plans(log: &str) -> Vec<(&str, Value)> {
    let mut lines = log.lines().peekable();
    let mut plans = Vec::new();
    while let Some(line) = lines.next() {
        let Some((database, _)) = line.split_once(" LOG:  duration: ") else {
            continue;
        };
        let mut text = String::new();
        while let Some(more) = lines.next_if(|line| line.starts_with('\t')) {
            text.push_str(more);
        }
        if let Ok(plan) = serde_json::from_str(&text) {
            plans.push((database, plan));
        }
    }
    plans
}

fn pages(node: &Value) -> f64 {
    let of = |name: &str| node[name].as_f64().unwrap_or_default();
    of("Shared Hit Blocks") + of("Shared Read Blocks")
}

/// Writes a node and those below it, a line each.
fn describe(node: &Value, depth: usize, tree: &mut String) -> std::fmt::Result {
    let text = |name: &str| node[name].as_str().unwrap_or_default();
    let number = |name: &str| node[name].as_f64().unwrap_or_default();
    let over = [text("Index Name"), text("Relation Name"), text("CTE Name")];
    let over = over.into_iter().find(|name| !name.is_empty());
    write!(
        tree,
        "{:width$}{}",
        "",
        text("Node Type"),
        width = 2 * depth
    )?;
    if let Some(over) = over {
        write!(tree, " {over}")?;
    }
    write!(tree, " ({}", number("Actual Rows"))?;
    let removed = number("Rows Removed by Filter") + number("Rows Removed by Index Recheck");
    if removed > 0.0 {
        write!(tree, ", {removed} left out")?;
    }
    if number("Actual Loops") > 1.0 {
        write!(tree, ", {} times", number("Actual Loops"))?;
    }
    writeln!(tree, ")")?;
    for below in node["Plans"].as_array().into_iter().flatten() {
        describe(below, depth + 1, tree)?;
    }
    Ok(())
}
