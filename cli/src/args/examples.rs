//! What people type: examples of every command, which `--help` and the manual pages show.

/// A command's words below `rbuild`, and lines with what they do.
type Examples = (&'static str, &'static [(&'static str, &'static str)]);

pub(super) const EXAMPLES: &[Examples] = &[
    (
        "build",
        &[
            ("rbuild -t app:1.0 .", "Build the Dockerfile of this directory"),
            ("rbuild -t registry.example/team/app:1.0 --push .", "Build and push"),
            ("rbuild --target test --build-arg VERSION=2 .", "Build up to one stage, with an argument"),
            ("rbuild --secret id=token,src=token.txt .", "Show a secret to RUN --mount=type=secret,id=token"),
            ("rbuild -t app --platform linux/amd64,linux/arm64 .", "Build one image for two platforms"),
            ("rbuild -t app -o type=oci,dest=app.tar .", "Write an OCI layout beside the store"),
            (
                "rbuild -t app --cache-from registry.example/cache --cache-to registry.example/cache .",
                "Share results with other machines",
            ),
        ],
    ),
    (
        "bake",
        &[
            ("rbuild bake", "Build the group or target `default`"),
            ("rbuild bake --push --set '*.platform=linux/arm64' web", "Change what the files say"),
            ("rbuild bake -f compose.yaml --print", "Show what would be built"),
        ],
    ),
    (
        "bake",
        &[
            ("rbuild bake", "Build the default targets of a compose file or docker-bake.hcl here"),
            ("rbuild bake --print release", "Show what a target comes to, and build nothing"),
        ],
    ),
    (
        "kaniko",
        &[(
            "rbuild kaniko --context . --dockerfile Dockerfile --destination registry.example/team/app:1.0",
            "The command line of a job that kaniko did",
        )],
    ),
    (
        "check",
        &[
            ("rbuild check", "Say what is doubtful in ./Dockerfile"),
            ("rbuild check --format sarif .", "For code hosts that show findings beside the lines"),
        ],
    ),
    (
        "run",
        &[
            ("rbuild run -it app:1.0 sh", "Look around in an image"),
            ("rbuild run app:1.0 cat /etc/os-release", "Run one command"),
        ],
    ),
    (
        "plan",
        &[
            ("rbuild plan .", "Show which steps are cached and which would run"),
            ("rbuild plan --format json .", "The same for programs"),
        ],
    ),
    (
        "why",
        &[
            ("rbuild why", "Every step of the last build"),
            ("rbuild why 12", "The step at line 12 of the Dockerfile"),
        ],
    ),
    (
        "images",
        &[
            ("rbuild images", "All images"),
            ("rbuild images -q --filter label=team=web", "Ids of those with a label"),
            (r"rbuild images --format 'table {{.ID}}\t{{.Repository}}'", "Columns of your own"),
        ],
    ),
    ("tag", &[("rbuild tag app:1.0 registry.example/team/app:1.0", "A further name, to push by")]),
    (
        "rmi",
        &[
            ("rbuild rmi app:1.0", "Take a name away, and the image with its last name"),
            ("rbuild rmi -f 0123456789ab", "Take an image away with all its names"),
        ],
    ),
    (
        "inspect",
        &[
            ("rbuild inspect app:1.0", "Everything, as JSON"),
            ("rbuild inspect -f '{{.Config.Env}}' app:1.0", "One field"),
        ],
    ),
    (
        "history",
        &[
            ("rbuild history app:1.0", "The steps that made an image"),
            ("rbuild history", "The builds of the past"),
        ],
    ),
    ("logs", &[("rbuild logs", "What the last build wrote, all of it")]),
    ("report", &[("rbuild report -o build.html", "A page about the last build")]),
    (
        "ls",
        &[
            ("rbuild ls -l app:1.0 /usr/bin", "A directory with modes, owners and sizes"),
            ("rbuild ls -R debian:12 /etc", "Of an image that was never pulled"),
        ],
    ),
    ("cat", &[("rbuild cat debian:12 /etc/os-release", "A file of an image")]),
    ("tree", &[("rbuild tree app:1.0", "What each layer added, and what is wasted")]),
    ("diff", &[("rbuild diff app:1.0 app:2.0", "Files and configuration that differ")]),
    (
        "save",
        &[
            ("rbuild save -o app.tar app:1.0", "For `docker load`"),
            ("rbuild save --format oci -o both.tar app:1.0 base:1", "An OCI layout with two images"),
        ],
    ),
    ("load", &[("rbuild load -i app.tar", "What `docker save` wrote")]),
    (
        "import",
        &[
            ("rbuild import rootfs.tar.xz system:1", "A filesystem from a file"),
            ("rbuild import -c 'CMD [\"/bin/sh\"]' - system:1", "From standard input, with a command"),
        ],
    ),
    ("pull", &[("rbuild pull --platform linux/arm64 debian:12", "The image for another platform")]),
    (
        "push",
        &[
            ("rbuild push app:1.0 registry.example/team/app:1.0", "To another name than its own"),
            ("rbuild push --dry-run registry.example/team/app:1.0", "Say what would move"),
        ],
    ),
    (
        "copy",
        &[
            ("rbuild copy debian:12 registry.example/copies/debian:12", "All platforms, same digest"),
            ("rbuild copy debian:12 oci:layout:12", "Into an OCI layout"),
            ("rbuild copy docker-archive:app.tar store:app:1.0", "Out of an archive"),
        ],
    ),
    ("tags", &[("rbuild tags debian", "The tags of a repository")]),
    ("manifest inspect", &[("rbuild manifest inspect debian:12", "What an image consists of")]),
    ("manifest raw", &[("rbuild manifest raw debian:12", "Byte for byte")]),
    ("manifest digest", &[("rbuild manifest digest debian:12", "To pin a base image by")]),
    ("manifest platforms", &[("rbuild manifest platforms debian:12", "One platform a line")]),
    (
        "index create",
        &[(
            "rbuild index create registry.example/app:1 registry.example/app:1-amd64 registry.example/app:1-arm64",
            "One name for two platforms",
        )],
    ),
    (
        "index add",
        &[("rbuild index add registry.example/app:1 registry.example/app:1-s390x", "One more platform")],
    ),
    ("index remove", &[("rbuild index remove registry.example/app:1 linux/s390x", "One platform less")]),
    (
        "blob get",
        &[(
            "rbuild blob get registry.example/app@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "A blob by its digest, to standard output",
        )],
    ),
    (
        "blob put",
        &[("rbuild blob put registry.example/app layer.tar.gz", "Put a file in, and print its digest")],
    ),
    ("append", &[("rbuild append -t registry.example/app:2 app:1.0 layer.tar.gz", "One layer more")]),
    (
        "mutate",
        &[(
            "rbuild mutate -t registry.example/app:2 --label version=2 --env A=1 registry.example/app:1",
            "Another label and variable, no layer moves",
        )],
    ),
    (
        "rebase",
        &[(
            "rbuild rebase -t registry.example/app:2 --old-base debian:12.0 --new-base debian:12.1 registry.example/app:1",
            "A newer base below an image",
        )],
    ),
    (
        "flatten",
        &[("rbuild flatten -t registry.example/app:flat registry.example/app:1", "One layer of all")],
    ),
    (
        "export",
        &[
            ("rbuild export -o files.tar app:1.0", "The files as a tar"),
            ("rbuild export -o rootfs/ app:1.0", "Or into a directory"),
        ],
    ),
    ("delete", &[("rbuild delete registry.example/app:old", "Take a tag away")]),
    ("referrers", &[("rbuild referrers registry.example/app:1", "Signatures and SBOMs of an image")]),
    (
        "attach",
        &[(
            "rbuild attach --artifact-type application/spdx+json registry.example/app:1 sbom.json",
            "An SBOM for an image",
        )],
    ),
    ("search", &[("rbuild search --limit 5 nginx", "On Docker Hub")]),
    ("whoami", &[("rbuild whoami registry.example", "Which account is used")]),
    (
        "login",
        &[
            ("rbuild login registry.example", "Ask for name and password"),
            (
                "rbuild login -u robot --password-stdin registry.example",
                "In a script, with the password in a pipe",
            ),
        ],
    ),
    ("logout", &[("rbuild logout registry.example", "Forget the credentials")]),
    ("mirrors test", &[("rbuild mirrors test debian:12", "Which mirrors answer, and how fast")]),
    (
        "prune",
        &[
            ("rbuild prune", "What nothing needs"),
            ("rbuild prune --filter until=7d", "And what was not used for a week"),
            ("rbuild prune --max-used-space 20g", "Down to a size"),
        ],
    ),
    ("du", &[("rbuild du -v", "Each thing with its size")]),
    ("store check", &[("rbuild store check --repair", "Find what the disk changed, and mend it")]),
    ("store du", &[("rbuild store du", "As `rbuild du`")]),
    ("store prune", &[("rbuild store prune --dry-run", "As `rbuild prune`")]),
    ("doctor", &[("rbuild doctor", "Which isolation works here, and why not more")]),
    (
        "info",
        &[
            ("rbuild info", "The program, the store and the machine"),
            ("rbuild info -f '{{.DockerRootDir}}'", "One field"),
        ],
    ),
    (
        "completion",
        &[("rbuild completion bash > /etc/bash_completion.d/rbuild", "For all users of a machine")],
    ),
    (
        "man",
        &[
            ("rbuild man build | man -l -", "Read a page"),
            ("rbuild man --directory /usr/local/share/man/man1", "Install all pages"),
        ],
    ),
    (
        "version",
        &[
            ("rbuild version", "For a report"),
            ("rbuild version -f '{{.Server.Version}}'", "The version alone"),
        ],
    ),
];
