//! Contexts in git repositories whose server asks who comes.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::lab::{Lab, as_caller, peer};

const TOKEN: &str = "token-of-the-test";

#[test]
fn a_private_repository_is_built() {
    as_caller(&["git"], |lab| {
        let arguments = spy_on_git(lab);
        let root = lab.path("served");
        make_repository(lab, &root.join("app.git"));
        let basic = |pair: String| format!("Basic {}", STANDARD.encode(pair));
        let taken = [
            basic(format!("{TOKEN}:")),
            basic(format!("me:{TOKEN}")),
            basic(format!("x-access-token:{TOKEN}")),
        ];
        let address = serve(root, taken.to_vec());
        let git = format!("git://{address}/app");
        let kaniko = ["kaniko", "--context", git.as_str(), "--no-push", "--destination", "app:1"];
        let run = |words: &[&str], variables: &[(&str, &str)]| {
            let path =
                std::env::join_paths([lab.path("bin").as_path(), Path::new("/usr/bin"), Path::new("/bin")]);
            let mut command = lab.command(words);
            command.env("PATH", path.unwrap()).env("GIT_PULL_METHOD", "http").envs(variables.iter().copied());
            let output = command.output().unwrap();
            (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
        };
        let (done, said) = run(&kaniko, &[]);
        assert!(!done && said.contains("hint: `--secret id=GIT_AUTH_TOKEN,env=NAME`"), "{said}");
        let url = format!("http://{address}/app.git");
        let secret = "--secret=id=GIT_AUTH_TOKEN,env=SECRET";
        let mut told = String::new();
        for (words, variables) in [
            (&kaniko[..], &[("GIT_TOKEN", TOKEN)][..]),
            (&kaniko[..], &[("GIT_USERNAME", "me"), ("GIT_PASSWORD", TOKEN)][..]),
            (&["build", "-t", "app:2", secret, &url][..], &[("SECRET", TOKEN)][..]),
        ] {
            let (done, said) = run(words, variables);
            assert!(done, "{said}");
            told += &said;
            told += &lab.answer(&["logs"]);
        }
        assert_eq!(lab.answer(&["cat", "app:1", "/file"]), "private\n");
        assert_eq!(lab.answer(&["cat", "app:2", "/file"]), "private\n");
        told += &fs::read_to_string(arguments).unwrap();
        assert!(told.contains("ls-remote"), "{told}");
        for hidden in [TOKEN].into_iter().chain(taken.iter().map(|header| &header[6..])) {
            assert!(!told.contains(hidden), "{told}");
        }
    });
}

#[test]
fn a_definition_is_where_its_targets_are() {
    as_caller(&["git"], |lab| {
        let root = lab.path("served");
        make_repository(lab, &root.join("app.git"));
        let file = "target \"default\" {\n  dockerfile-inline = \"FROM busybox:1\\nCOPY here /here\"\n  tags = [\"file:1\"]\n}\n";
        fs::create_dir(root.join("public")).unwrap();
        fs::write(root.join("public/docker-bake.hcl"), file).unwrap();
        lab.write("here", "of this machine\n");
        let token = format!("Basic {}", STANDARD.encode(format!("x-access-token:{TOKEN}")));
        let address = serve(root, vec![token]);
        let url = format!("http://{address}/app.git#main");
        let run = |words: &[&str]| {
            let output = lab.command(words).env("BUILDX_BAKE_GIT_AUTH_TOKEN", TOKEN).output().unwrap();
            let text = |bytes| String::from_utf8(bytes).unwrap();
            (output.status.code(), text(output.stdout), text(output.stderr))
        };
        let (status, printed, said) = run(&["bake", &url, "--print"]);
        assert_eq!(status, Some(0), "{said}");
        assert!(
            printed.contains(&format!("\"context\": \"http://{address}/app.git#main:sub\"")),
            "{printed}"
        );
        let (status, _, said) = run(&["bake", &url]);
        assert_eq!(status, Some(0), "{said}");
        assert_eq!(lab.answer(&["cat", "baked:1", "/below"]), "below\n");
        // What it names of this machine has to be allowed.
        let (status, _, said) = run(&["bake", &url, "greedy"]);
        assert!(
            status == Some(1) && said.contains("hint: `--allow fs.read=/etc/hostname` grants it"),
            "{said}"
        );
        assert_eq!(run(&["bake", &url, "greedy", "--print", "--allow", "fs.read=/etc"]).0, Some(0));
        let (status, _, said) = run(&["bake", &url, "-f", "none.hcl"]);
        assert!(status == Some(1) && said.contains("has no bake file `none.hcl`"), "{said}");
        // A file alone is about this machine's directory.
        let (status, _, said) = run(&["bake", &format!("http://{address}/public/docker-bake.hcl")]);
        assert_eq!(status, Some(0), "{said}");
        assert_eq!(lab.answer(&["cat", "file:1", "/here"]), "of this machine\n");
    });
}

/// A `git` in front of the machine's own that writes its arguments into a file.
fn spy_on_git(lab: &Lab) -> PathBuf {
    let (program, arguments) = (lab.path("bin/git"), lab.path("arguments"));
    fs::create_dir(lab.path("bin")).unwrap();
    let script = format!("#!/bin/sh\necho \"$@\" >> '{}'\nexec /usr/bin/git \"$@\"\n", arguments.display());
    fs::write(&program, script).unwrap();
    fs::set_permissions(program, fs::Permissions::from_mode(0o755)).unwrap();
    arguments
}

/// A bare repository that can be served as files.
fn make_repository(lab: &Lab, bare: &Path) {
    let work = lab.path("work");
    fs::create_dir(&work).unwrap();
    fs::write(work.join("Dockerfile"), "FROM busybox:1\nCOPY file /file\n").unwrap();
    fs::write(work.join("file"), "private\n").unwrap();
    fs::create_dir(work.join("sub")).unwrap();
    fs::write(work.join("sub/Dockerfile"), "FROM busybox:1\nCOPY below /below\n").unwrap();
    fs::write(work.join("sub/below"), "below\n").unwrap();
    let targets = "target \"default\" {\n  context = \"sub\"\n  tags = [\"baked:1\"]\n}\n\
                   target \"greedy\" {\n  secret = [\"id=a,src=/etc/hostname\"]\n}\n";
    fs::write(work.join("docker-bake.hcl"), targets).unwrap();
    let (work, bare) = (work.to_str().unwrap(), bare.to_str().unwrap());
    let author = ["-c", "user.name=author", "-c", "user.email=author@example.com"];
    peer("git", &["init", "-q", "-b", "main", work]);
    peer("git", &["-C", work, "add", "."]);
    peer("git", &[&["-C", work][..], &author, &["commit", "-q", "-m", "one"]].concat());
    peer("git", &["clone", "-q", "--bare", work, bare]);
    peer("git", &["-C", bare, "update-server-info"]);
}

/// Serves the files below `root` to those who come with one of the headers. Returns `127.0.0.1:port`.
fn serve(root: PathBuf, taken: Vec<String>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A client that goes away is no concern of the server.
            drop(answer(&stream, &root, &taken));
        }
    });
    address
}

fn answer(mut stream: &TcpStream, root: &Path, taken: &[String]) -> std::io::Result<()> {
    let mut head = String::new();
    let mut reader = BufReader::new(stream);
    while reader.read_line(&mut head)? > 2 {}
    let header = head.lines().find_map(|line| line.strip_prefix("Authorization: "));
    let target = head.split(' ').nth(1).unwrap_or_default();
    let path = Path::new(target.split('?').next().unwrap_or_default().trim_start_matches('/'));
    let known = header.is_some_and(|header| taken.iter().any(|one| one == header));
    let (status, body) = if !known && !path.starts_with("public") {
        ("401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"git\"", Vec::new())
    } else if path.components().all(|part| matches!(part, Component::Normal(_))) && root.join(path).is_file()
    {
        ("200 OK", fs::read(root.join(path))?)
    } else {
        ("404 Not Found", Vec::new())
    };
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len())?;
    stream.write_all(&body)
}
