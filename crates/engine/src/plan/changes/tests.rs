//! The grammar of changes by tables: what Docker takes, what it refuses, and in which words.

use super::*;

fn base() -> RunConfig {
    RunConfig {
        env: vec!["PATH=/bin".into(), "A=1".into()],
        cmd: vec!["old".into()],
        working_dir: "/w".into(),
        ..RunConfig::default()
    }
}

fn after(changes: &[&str]) -> Result<RunConfig> {
    apply(base(), &words(changes))
}

fn words(list: &[&str]) -> Vec<String> {
    list.iter().map(|w| (*w).to_owned()).collect()
}

#[test]
fn commands() {
    for (changes, entrypoint, cmd) in [
        (&[r#"CMD ["a", "b c"]"#][..], &[][..], &["a", "b c"][..]),
        (&["CMD echo $A 'x  y'"], &[], &["/bin/sh", "-c", "echo $A 'x  y'"]),
        (&["cmd []"], &[], &[]),
        (&["CMD ['a']"], &[], &["/bin/sh", "-c", "['a']"]),
        (&["CMD [1]"], &[], &["/bin/sh", "-c", "[1]"]),
        (&[r#"ENTRYPOINT ["e"]"#], &["e"], &[]),
        (&["CMD c", r#"ENTRYPOINT ["e"]"#], &["e"], &["/bin/sh", "-c", "c"]),
        (&[r#"ENTRYPOINT ["e"]"#, r#"CMD ["c"]"#], &["e"], &["c"]),
        (&["ENTRYPOINT e f"], &["/bin/sh", "-c", "e f"], &[]),
        (&["USER x"], &[], &["old"]),
    ] {
        let config = after(changes).unwrap();
        assert_eq!((config.entrypoint, config.cmd), (words(entrypoint), words(cmd)), "{changes:?}");
    }
    let config = RunConfig { shell: words(&["/bin/bash", "-x"]), ..base() };
    let config = apply(config, &words(&["CMD x"])).unwrap();
    assert_eq!(config.cmd, words(&["/bin/bash", "-x", "x"]));
}

#[test]
fn environment() {
    for (changes, env) in [
        (&["ENV B=2"][..], &["PATH=/bin", "A=1", "B=2"][..]),
        (&["ENV A=2 C=\"x y\" D=a\\ b E='$A'"], &["PATH=/bin", "A=2", "C=x y", "D=a b", "E=$A"]),
        (&["ENV A two words"], &["PATH=/bin", "A=two words"]),
        (&["ENV A=2 B=$A"], &["PATH=/bin", "A=2", "B=1"]),
        (&["ENV A=2", "ENV B=$A"], &["PATH=/bin", "A=2", "B=2"]),
        (&["ENV PATH=/x:$PATH"], &["PATH=/x:/bin", "A=1"]),
        (&["ENV A="], &["PATH=/bin", "A="]),
        (&["ENV B=x=y"], &["PATH=/bin", "A=1", "B=x=y"]),
        (&["ENV B=1\nENV C=2"], &["PATH=/bin", "A=1", "B=1", "C=2"]),
        (&["ENV B=1 \\\n C=2"], &["PATH=/bin", "A=1", "B=1", "C=2"]),
        (&["ENV $A=x"], &["PATH=/bin", "A=1", "1=x"]),
    ] {
        assert_eq!(after(changes).unwrap().env, words(env), "{changes:?}");
    }
    for bad in ["ENV", "ENV B", "ENV A=1 B", "ENV =x", "ENV A='x", "ENV $NO=x"] {
        assert!(after(&[bad]).is_err(), "{bad}");
    }
}

#[test]
fn everything_else() {
    let config = after(&[
        "LABEL a=1 \"b c\"='d e' x=$A",
        "LABEL old style",
        "EXPOSE 80 53/udp 8000-8002/TCP $A",
        "VOLUME [\"/data\", \"/a b\"]",
        "VOLUME /x /y/$A",
        "USER bin:$A",
        "WORKDIR sub/../rel",
        "STOPSIGNAL SIGINT",
        "ONBUILD RUN make $A",
        "ONBUILD ADD . /",
        "HEALTHCHECK --retries=2 CMD true",
    ])
    .unwrap();
    let labels: Vec<_> = config.labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!(labels, ["a=1", "b c=d e", "old=style", "x=1"]);
    let ports: Vec<_> = config.exposed_ports.keys().cloned().collect();
    assert_eq!(ports, ["1/tcp", "53/udp", "80/tcp", "8000/tcp", "8001/tcp", "8002/tcp"]);
    assert_eq!(config.volumes.keys().cloned().collect::<Vec<_>>(), ["/a b", "/data", "/x", "/y/1"]);
    assert_eq!(
        (config.user.as_str(), config.working_dir.as_str(), config.stop_signal.as_str()),
        ("bin:1", "/w/rel", "SIGINT")
    );
    assert_eq!(config.on_build, ["RUN make $A", "ADD . /"]);
    assert_eq!(config.healthcheck.unwrap().test, ["CMD-SHELL", "true"]);
    assert_eq!(after(&["WORKDIR /a//b/./c/.."]).unwrap().working_dir, "/a/b");
    assert_eq!(after(&["WORKDIR ../../.."]).unwrap().working_dir, "/");
    assert_eq!(after(&[]).unwrap(), base());
    assert_eq!(after(&["# only a comment"]).unwrap(), base());
}

#[test]
fn refusals_name_what_they_refuse() {
    for (change, part) in [
        ("RUN x", "RUN is not a valid change command"),
        ("FROM x", "FROM is not a valid change command"),
        ("COPY a b", "COPY is not a valid change command"),
        ("SHELL [\"x\"]", "SHELL is not a valid change command"),
        ("nonsense", "nonsense is not a valid change command"),
        ("CMD", "CMD requires at least one argument"),
        ("USER --x=y z", "unknown flag: --x"),
        ("EXPOSE 80:80", "publish"),
        ("EXPOSE 70000", "65535"),
        ("EXPOSE -1", "65535"),
        ("EXPOSE +1", "65535"),
        ("EXPOSE 9-8", "ends before"),
        ("EXPOSE 80/icmp", "tcp, udp or sctp"),
        ("VOLUME [\"\"]", "empty"),
        ("STOPSIGNAL SIGNOPE", "Invalid signal"),
        ("ONBUILD ONBUILD RUN x", "Chaining"),
        ("ONBUILD FROM x", "FROM isn't allowed"),
        ("HEALTHCHECK NOPE", "Unknown type"),
        ("ENV A=b C", "form name=value"),
    ] {
        let error = after(&["ENV FIRST=1", change]).unwrap_err();
        assert!(error.text().contains(part), "{change}: {error}");
        assert_eq!(error.kind(), dhow_types::ErrorKind::InvalidParameter);
    }
    assert!(after(&[&"x".repeat(2 << 20)]).unwrap_err().text().contains("more than"));
}
