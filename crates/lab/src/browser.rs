//! A browser without a window, for the tests of pages: Chromium, driven by its DevTools protocol over a pair of pipes. So no
//! port is open, and no other program can drive it.

use std::io::{self, BufRead, BufReader, PipeReader, PipeWriter, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::process::{Place, Running, output, spawn};

/// For an answer of the browser on a machine that does other things besides.
const PATIENCE: Duration = Duration::from_mins(1);
/// Between two looks at a page that is to become something.
const AGAIN: Duration = Duration::from_millis(100);

/// A browser with one page. It is gone when this is dropped.
#[derive(Debug)]
pub struct Browser {
    commands: PipeWriter,
    messages: Receiver<Value>,
    session: String,
    last: u64,
    /// What was wrong with the pages so far.
    complaints: Vec<String>,
    _running: Running,
    _profile: TempDir,
}

impl Browser {
    /// Starts the browser, which must be installed ([`crate::debian::FOR_PAGES`]), in the network of the calling thread.
    pub fn start() -> Result<Self> {
        let profile = tempfile::tempdir().context("making a folder for the browser")?;
        let (for_browser, commands) = io::pipe().context("making a pipe")?;
        let (answers, from_browser) = io::pipe().context("making a pipe")?;
        // The protocol goes over the descriptors 3 and 4.
        let mut command = Command::new("sh");
        command.args(["-c", r#"exec chromium "$@" 3<&0 4>&1 </dev/null >/dev/null 2>&1"#, "sh"]);
        command.args([
            "--headless",
            "--remote-debugging-pipe",
            "--no-sandbox",
            "--no-first-run",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--hide-scrollbars",
        ]);
        command.arg(format!("--user-data-dir={}", profile.path().display())).arg("about:blank");
        command.stdin(Stdio::from(for_browser)).stdout(Stdio::from(from_browser)).stderr(Stdio::null());
        let running = spawn(command, Place::default()).context("starting the browser")?;
        let mut browser = Self {
            commands,
            messages: read(answers)?,
            session: String::new(),
            last: 0,
            complaints: vec![],
            _running: running,
            _profile: profile,
        };
        browser.attach()?;
        Ok(browser)
    }

    fn attach(&mut self) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        let target = loop {
            let targets = self.call("Target.getTargets", json!({}))?;
            let targets = targets["targetInfos"].as_array().cloned().unwrap_or_default();
            match targets.into_iter().find(|target| target["type"] == "page") {
                Some(target) => break target["targetId"].clone(),
                None => ensure!(Instant::now() < end, "the browser opens no page"),
            }
            thread::sleep(AGAIN);
        };
        let attached = self.call("Target.attachToTarget", json!({"targetId": target, "flatten": true}))?;
        attached["sessionId"].as_str().context("no session")?.clone_into(&mut self.session);
        for domain in ["Page", "Runtime", "Log"] {
            self.call(&format!("{domain}.enable"), json!({}))?;
        }
        Ok(())
    }

    /// Opens an address, and waits until it is loaded.
    pub fn open(&mut self, url: &str) -> Result<()> {
        let answer = self.call("Page.navigate", json!({"url": url}))?;
        ensure!(answer["errorText"].is_null(), "the page does not open: {}", answer["errorText"]);
        self.wait_for(
            "the page to be loaded",
            "document.readyState === 'complete' && location.href !== 'about:blank'",
        )
        .map(drop)
    }

    /// What a script in the page comes to.
    pub fn evaluate(&mut self, script: &str) -> Result<Value> {
        let parameters = json!({"expression": script, "returnByValue": true, "awaitPromise": true});
        let answer = self.call("Runtime.evaluate", parameters)?;
        ensure!(answer["exceptionDetails"].is_null(), "{script}: {}", answer["exceptionDetails"]);
        Ok(answer["result"]["value"].clone())
    }

    /// Waits until a script in the page comes to something true, and returns that.
    pub fn wait_for(&mut self, what: &str, script: &str) -> Result<Value> {
        let end = Instant::now() + PATIENCE;
        loop {
            let value = self.evaluate(script)?;
            if !matches!(value, Value::Null | Value::Bool(false)) {
                return Ok(value);
            }
            ensure!(Instant::now() < end, "waited for {what}; the page says: {}", self.text()?);
            thread::sleep(AGAIN);
        }
    }

    /// The text that somebody sees.
    pub fn text(&mut self) -> Result<String> {
        Ok(self.evaluate("document.body.innerText")?.as_str().unwrap_or_default().to_owned())
    }

    /// What was wrong so far: errors and warnings in the console, exceptions that nobody caught, what was not loaded.
    pub fn complaints(&mut self) -> Result<Vec<String>> {
        // What has been sent by now has come before this answer.
        self.evaluate("0")?;
        Ok(self.complaints.clone())
    }

    /// Shows pages in a window of this size, light or dark.
    pub fn resize(&mut self, width: u32, height: u32, dark: bool) -> Result<()> {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500});
        self.call("Emulation.setDeviceMetricsOverride", size)?;
        let scheme = if dark { "dark" } else { "light" };
        let scheme = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.call("Emulation.setEmulatedMedia", scheme).map(drop)
    }

    /// Writes a picture of all of the page, as PNG.
    pub fn screenshot(&mut self, file: &Path) -> Result<()> {
        let size = self.call("Page.getLayoutMetrics", json!({}))?["cssContentSize"].clone();
        let clip = json!({"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1});
        let all = json!({"format": "png", "captureBeyondViewport": true, "clip": clip});
        let picture = self.call("Page.captureScreenshot", all)?;
        let text = picture["data"].as_str().context("no picture")?;
        let mut decode = Command::new("base64");
        decode.arg("--decode");
        let decoded = output(decode, Place::default(), text.as_bytes()).context("starting base64")?;
        ensure!(decoded.status.success(), "the picture cannot be decoded");
        std::fs::write(file, decoded.stdout).with_context(|| format!("writing {}", file.display()))
    }

    /// Calls a method of the protocol, and returns what it answers.
    fn call(&mut self, method: &str, parameters: Value) -> Result<Value> {
        self.last += 1;
        let mut message = json!({"id": self.last, "method": method, "params": parameters});
        if !self.session.is_empty() {
            message["sessionId"] = json!(self.session);
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        self.commands.write_all(&bytes).with_context(|| format!("telling the browser {method}"))?;
        let end = Instant::now() + PATIENCE;
        loop {
            let message = match self.messages.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(message) => message,
                Err(RecvTimeoutError::Timeout) => bail!("the browser does not answer {method}"),
                Err(RecvTimeoutError::Disconnected) => bail!("the browser is gone, at {method}"),
            };
            if message["id"] == self.last {
                ensure!(message["error"].is_null(), "{method}: {}", message["error"]);
                return Ok(message["result"].clone());
            }
            self.complaints.extend(complaint(&message));
        }
    }
}

/// What comes from the browser, each message ended by a zero byte.
fn read(answers: PipeReader) -> Result<Receiver<Value>> {
    let (sender, messages) = mpsc::channel();
    let read = move || {
        for message in BufReader::new(answers).split(0).map_while(io::Result::ok) {
            let Ok(message) = serde_json::from_slice(&message) else { return };
            if sender.send(message).is_err() {
                return;
            }
        }
    };
    thread::Builder::new().name("browser".to_owned()).spawn(read).context("starting a thread")?;
    Ok(messages)
}

/// What is wrong with a page, if that is what a message tells.
fn complaint(message: &Value) -> Option<String> {
    let parameters = &message["params"];
    match message["method"].as_str()? {
        "Runtime.exceptionThrown" => Some(format!("exception: {}", parameters["exceptionDetails"])),
        "Runtime.consoleAPICalled"
            if ["error", "warning", "assert"].contains(&parameters["type"].as_str()?) =>
        {
            Some(format!("console: {}", parameters["args"]))
        }
        "Log.entryAdded" if ["error", "warning"].contains(&parameters["entry"]["level"].as_str()?) => {
            Some(format!("log: {}", parameters["entry"]))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_page_is_told_from_what_is_not() {
        let entry = |level: &str| json!({"method": "Log.entryAdded", "params": {"entry": {"level": level}}});
        let console =
            |kind: &str| json!({"method": "Runtime.consoleAPICalled", "params": {"type": kind, "args": []}});
        assert!(complaint(&entry("error")).is_some() && complaint(&console("warning")).is_some());
        assert!(complaint(&json!({"method": "Runtime.exceptionThrown", "params": {}})).is_some());
        assert!(complaint(&entry("info")).is_none() && complaint(&console("log")).is_none());
        assert!(complaint(&json!({"method": "Page.loadEventFired"})).is_none());
        assert!(complaint(&json!({"id": 1, "result": {}})).is_none());
    }
}
