//! The completion script in a real bash.

use std::process::Command;

fn complete(line: &[&str]) -> Vec<String> {
    let script = r#"
        source <("$0" completion bash)
        COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
        _rbuild rbuild "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let rbuild = xtask::subject::under_test(env!("CARGO_BIN_EXE_rbuild"));
    let output = Command::new("bash").args(["-c", script]).arg(rbuild).args(line).output().unwrap();
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_options_and_values() {
    let commands = complete(&["rbuild", "im"]);
    assert!(commands.contains(&"images".to_owned()), "{commands:?}");
    assert!(!commands.iter().any(|one| one == "build"), "{commands:?}");
    assert_eq!(complete(&["rbuild", "build", "--build-c"]), ["--build-context"]);
    assert_eq!(complete(&["rbuild", "save", "--format", "o"]), ["oci"]);
    assert_eq!(complete(&["rbuild", "mirrors", "te"]), ["test"]);
}

#[test]
fn other_shells_have_a_script_too() {
    for (shell, sign) in [("zsh", "#compdef rbuild"), ("fish", "complete -c rbuild")] {
        let output = Command::new(xtask::subject::under_test(env!("CARGO_BIN_EXE_rbuild")))
            .args(["completion", shell])
            .output()
            .unwrap();
        let script = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && script.contains(sign), "{shell}");
    }
}
