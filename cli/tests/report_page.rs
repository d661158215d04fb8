//! The page of `rbuild report` in a real browser: what is read off its screen is what the log of the build says. It needs
//! Debian's chromium, which takes longer to install than all other tools: `cargo xtask report-page` does both.

#[path = "e2e/lab.rs"]
#[expect(dead_code, reason = "one test needs a part of it")]
mod lab;

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use lab::{Lab, as_caller};

/// Reads from the page as it is laid out; places of bars are shares of their lane.
const MEASURE: &str = r"
<script>
const text = id => document.getElementById(id).innerText;
const box = element => element.getBoundingClientRect();
const rows = [...document.querySelectorAll('#steps tr')].filter(row => row.querySelector('.lane'));
const steps = rows.map(row => {
  const lane = box(row.querySelector('.lane'));
  const bars = [...row.querySelectorAll('.lane i')].map(bar => ({
    waits: bar.className === 'wait', seen: box(bar).width > 0 && box(bar).height > 4,
    left: (box(bar).left - lane.left) / lane.width, right: (box(bar).right - lane.left) / lane.width,
  }));
  return {number: row.cells[0].innerText, name: row.cells[1].textContent, outcome: row.cells[2].innerText, bars};
});
const measured = document.createElement('script');
measured.type = 'application/json';
measured.id = 'measured';
measured.textContent = JSON.stringify({
  result: text('result'), ran: text('ran'), cached: text('cached'), steps,
  layers: document.querySelectorAll('#layers tr').length,
  fetched: performance.getEntriesByType('resource').length,
  overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
});
document.body.append(measured);
</script>";

/// What a browser window of this width shows.
fn shown(lab: &Lab, page: &Path, width: usize) -> Value {
    let copy = lab.path("measured.html");
    fs::write(&copy, fs::read_to_string(page).unwrap() + MEASURE).unwrap();
    let output = Command::new("chromium")
        // As root a browser has no sandbox of its own.
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
        .arg(format!("--window-size={width},900"))
        .arg(format!("--user-data-dir={}", lab.path("browser").display()))
        .args(["--dump-dom", &format!("file://{}", copy.display())])
        .output()
        .expect("chromium is needed: `cargo xtask report-page` installs it");
    let page = String::from_utf8(output.stdout).unwrap();
    let measured = page.split("id=\"measured\">").nth(1).and_then(|rest| rest.split("</script>").next());
    let measured = measured.unwrap_or_else(|| panic!("{page}\n{}", String::from_utf8_lossy(&output.stderr)));
    serde_json::from_str(measured).unwrap()
}

#[test]
fn the_page_shows_what_the_log_says() {
    as_caller(&[], |lab| {
        lab.write(
            "Dockerfile",
            "FROM busybox:1 AS a\nRUN sleep 1 && echo '<b>bold</b>'\nFROM busybox:1 AS b\nRUN sleep 1; true\n\
             FROM busybox:1\nCOPY --from=a /etc/passwd /a\nCOPY --from=b /etc/passwd /b\nRUN echo \"<i>\" > /c\n",
        );
        lab.succeed(&["build", "--jobs", "1", "-t", "app:1.0", "."]);
        lab.succeed(&["report", "-o", "page.html"]);
        let log = lab.answer(&["logs"]);
        let history: Value = serde_json::from_str(&lab.answer(&["history", "--format", "json"])).unwrap();
        let journal = &history["build"];
        let page = lab.path("project/page.html");
        for width in [1200, 600] {
            let shown = shown(lab, &page, width);
            let ended =
                |how: &str| log.lines().filter(|line| line.ends_with(how) && line.starts_with('#')).count();
            assert_eq!(shown["result"], "done");
            assert_eq!(shown["ran"], ended(" DONE").to_string().as_str(), "{shown:#}\n{log}");
            assert_eq!(shown["cached"], ended(" CACHED").to_string().as_str(), "{shown:#}\n{log}");
            assert_eq!(shown["fetched"], 0, "the page needs nothing from elsewhere");
            assert!(shown["overflow"].as_i64().unwrap() <= 0, "at {width} pixels: {shown:#}");
            assert_eq!(shown["layers"], journal["layers"].as_array().unwrap().len());
            steps(&shown, journal, &log);
        }
    });
}

/// Each bar stands where the step was in time, a wait in front of it.
fn steps(shown: &Value, journal: &Value, log: &str) {
    let (steps, records) = (shown["steps"].as_array().unwrap(), journal["steps"].as_array().unwrap());
    assert_eq!(steps.len(), records.len());
    let number = |value: &Value| value.as_f64().unwrap();
    let whole = number(&journal["elapsed_ms"]);
    let mut waits = 0;
    for (step, record) in steps.iter().zip(records) {
        let name = step["name"].as_str().unwrap();
        assert!(
            log.contains(&format!("#{} {name}\n", step["number"].as_str().unwrap())),
            "{name} is not in\n{log}"
        );
        assert_eq!(step["outcome"], record["outcome"]);
        let (started, took) = (number(&record["started_ms"]), number(&record["elapsed_ms"]));
        let (bar, before) = step["bars"].as_array().unwrap().split_last().unwrap();
        assert_eq!(bar["seen"], true, "{step}");
        // Places are whole percents, and a short step is two pixels wide all the same.
        let near = |found: &Value, wanted: f64| (number(found) - wanted / whole).abs() < 0.03;
        assert!(near(&bar["left"], started) && near(&bar["right"], started + took), "{step}\n{record}");
        if let [wait] = before {
            waits += 1;
            assert_eq!(wait["waits"], true);
            assert!(near(&wait["left"], started - number(&record["waited_ms"])), "{step}\n{record}");
            assert!(near(&wait["right"], started), "{step}\n{record}");
        }
    }
    assert!(waits > 0, "one of two commands waits for the other:\n{shown:#}");
}
