//! Web servers of others for checks to ask, in the calling thread's namespace.

#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a test that cannot go on has failed"
)]

use crate::asked::Server;
use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

/// nginx on 127.0.0.1:8080, without TLS. `/health` says that all is ready, with its
/// length; `/chunked` says what `upstream` does, in chunks where the request is one
/// of HTTP/1.1; `/asked` says how it was asked.
#[must_use]
pub fn nginx(directory: &Path, upstream: SocketAddr) -> Server {
    let config = format!(
        "daemon off; master_process off; pid {0}/pid; error_log {0}/error.log; events {{}}\n\
         http {{ access_log off; client_body_temp_path {0}; proxy_temp_path {0};\n\
         fastcgi_temp_path {0}; uwsgi_temp_path {0}; scgi_temp_path {0};\n\
         server {{ listen 127.0.0.1:8080; keepalive_timeout 60s;\n\
         location = /health {{ add_header X-Version 42; return 200 \"all ready\\n\"; }}\n\
         location = /chunked {{ proxy_pass http://{upstream}; }}\n\
         location = /asked {{ return 200 \"$request_method $server_protocol $http_host \
         $http_x_probe $content_length $http_connection.\\n\"; }}\n\
         location = /empty {{ return 204; }}\n\
         location = /moved {{ return 301 /health; }}\n\
         location = /mute {{ return 444; }}\n\
         location / {{ return 503; }} }} }}\n",
        directory.display(),
    );
    let file = directory.join("nginx.conf");
    fs::write(&file, config).unwrap();
    Server::start("nginx", &["-c", file.to_str().unwrap()])
}

/// haproxy on 127.0.0.1:8081 over HTTP, which ends a connection after 100 ms, and from port 9701 on an agent for each of
/// `words`, who says them to whoever connects.
#[must_use]
pub fn haproxy(directory: &Path, words: &[&str]) -> Server {
    let mut lua = String::new();
    let mut agents = String::new();
    for (port, words) in (9701..).zip(words) {
        let _ = writeln!(
            lua,
            "core.register_service(\"agent{port}\", \"tcp\", function(applet) applet:send(\"{words}\") end)"
        );
        let _ = writeln!(
            agents,
            "frontend agent{port}\n mode tcp\n bind 127.0.0.1:{port}\n tcp-request content use-service lua.agent{port}"
        );
    }
    let config = format!(
        "global\n lua-load {0}/agents.lua\n\
         defaults\n mode http\n timeout connect 1s\n timeout client 5s\n timeout server 5s\n timeout http-keep-alive 100ms\n\
         frontend web\n bind 127.0.0.1:8081\n\
         \x20http-request return status 200 content-type text/plain string \"all ready\" hdr X-Version 42 if {{ path /health }}\n\
         \x20http-request return status 503 content-type text/plain string \"draining\" if {{ path /down }}\n\
         \x20http-request redirect location /health code 302 if {{ path /moved }}\n\
         \x20http-request silent-drop if {{ path /mute }}\n\
         \x20http-request reject if {{ path /reject }}\n\
         {agents}",
        directory.display()
    );
    fs::write(directory.join("agents.lua"), lua).unwrap();
    let file = directory.join("haproxy.cfg");
    fs::write(&file, config).unwrap();
    Server::start("haproxy", &["-db", "-f", file.to_str().unwrap()])
}

/// haproxy as one who asks: a server of weight 100 for each agent, and a socket in
/// the directory that tells what it makes of them.
#[must_use]
pub fn haproxy_asks(directory: &Path, agents: &[SocketAddr]) -> Server {
    let mut servers = String::new();
    for (n, agent) in agents.iter().enumerate() {
        let _ = writeln!(
            servers,
            " server s{n} {agent} weight 100 agent-check agent-port {} agent-inter 100ms",
            agent.port()
        );
    }
    let config = format!(
        "global\n stats socket {0}/stats\n\
         defaults\n mode tcp\n timeout connect 1s\n timeout client 5s\n timeout server 5s\n timeout check 1s\n\
         backend agents\n{servers}",
        directory.display()
    );
    let file = directory.join("haproxy-asks.cfg");
    fs::write(&file, config).unwrap();
    Server::start("haproxy", &["-db", "-f", file.to_str().unwrap()])
}
