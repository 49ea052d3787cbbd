//! A real browser, driven over its own protocol (CDP), with an authenticator in software, as a person has one in a key.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{net::TcpStream, runtime::Runtime};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async, tungstenite::Message};

/// Longer than any machine needs for what is waited for here.
const PATIENCE: Duration = Duration::from_secs(90);

/// A browser with one page. Killed when dropped.
pub struct Browser {
    child: Child,
    runtime: Runtime,
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    asked: u64,
    page: String,
    _profile: TempDir,
}

impl Browser {
    /// Starts it; every name below `example.org` is the server at this address, whose certificate is taken as it is.
    pub fn start(server: &str) -> Self {
        let program = std::env::var("LOCKSTEP_TEST_BROWSER");
        let program =
            program.unwrap_or_else(|_| panic!("LOCKSTEP_TEST_BROWSER is not set: run cargo xtask test"));
        let profile = tempfile::tempdir().unwrap();
        let mut child = Command::new(program)
            .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
            .args(["--no-first-run", "--no-proxy-server", "--ignore-certificate-errors"])
            .arg(format!("--host-resolver-rules=MAP *.example.org:443 {server}"))
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .args(["--remote-debugging-port=0", "about:blank"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let said = |line: String| line.strip_prefix("DevTools listening on ").map(str::to_owned);
        let address = lines.find_map(said).unwrap_or_else(|| panic!("the browser did not start"));
        // It goes on talking: somebody has to listen.
        std::thread::spawn(move || lines.for_each(drop));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (socket, _) = runtime.block_on(connect_async(address)).unwrap();
        let mut browser = Self { child, runtime, socket, asked: 0, page: String::new(), _profile: profile };
        let target =
            browser.call("Target.createTarget", &json!({ "url": "about:blank" }))["targetId"].clone();
        let attach = json!({ "targetId": target, "flatten": true });
        let page = browser.call("Target.attachToTarget", &attach)["sessionId"].as_str().unwrap().to_owned();
        browser.page = page;
        browser.call("WebAuthn.enable", &json!({}));
        let options = json!({ "protocol": "ctap2", "transport": "usb", "automaticPresenceSimulation": true });
        browser.call("WebAuthn.addVirtualAuthenticator", &json!({ "options": options }));
        browser
    }

    /// Asks it to do something; what it answers.
    fn call(&mut self, method: &str, parameters: &Value) -> Value {
        self.asked += 1;
        let mut asked = json!({ "id": self.asked, "method": method, "params": parameters });
        if !self.page.is_empty() {
            asked["sessionId"] = self.page.clone().into();
        }
        let (socket, id) = (&mut self.socket, self.asked);
        let answer = self.runtime.block_on(async {
            socket.send(Message::text(asked.to_string())).await.unwrap();
            loop {
                let message = tokio::time::timeout(PATIENCE, socket.next()).await.unwrap();
                let Message::Text(text) = message.unwrap().unwrap() else { continue };
                let said: Value = serde_json::from_str(&text).unwrap();
                if said["id"] == id {
                    return said;
                }
            }
        });
        assert!(answer["error"].is_null(), "{method}: {answer}");
        answer["result"].clone()
    }

    /// Goes to an address.
    pub fn open(&mut self, url: &str) {
        // Between two addresses that differ in their fragment alone a browser loads nothing.
        self.call("Page.navigate", &json!({ "url": "about:blank" }));
        self.call("Page.navigate", &json!({ "url": url }));
    }

    /// What an expression of JavaScript gives, as if a person had done something just then.
    pub fn evaluate(&mut self, expression: &str) -> Value {
        let asked = json!({ "expression": expression, "returnByValue": true, "userGesture": true });
        self.call("Runtime.evaluate", &asked)["result"]["value"].clone()
    }

    /// Waits until an expression is true.
    pub fn until(&mut self, expression: &str) {
        let since = Instant::now();
        while self.evaluate(expression) != true {
            let page = self.evaluate("location.href + ' ' + document.body?.innerText");
            assert!(since.elapsed() < PATIENCE, "never {expression}: {page}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Opens a page and presses its button.
    pub fn press(&mut self, url: &str) {
        self.open(url);
        self.until("document.getElementById('go')?.hidden === false");
        self.evaluate("document.getElementById('go').click()");
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
