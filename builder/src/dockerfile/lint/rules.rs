//! The rules by name.

/// One rule.
#[derive(Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its id, as `# check=skip=` names it.
    pub id: &'static str,
    /// What it is about, in one sentence.
    pub summary: &'static str,
    /// BuildKit's page about it.
    pub url: Option<&'static str>,
    /// Silent unless `# check=experimental=` names it.
    pub experimental: bool,
    /// Not one of BuildKit's.
    pub own: bool,
}

macro_rules! rules {
    ($($name:ident $id:literal $page:expr, $experimental:literal $own:literal $summary:literal;)*) => {
        $(pub(super) const $name: &Rule = &Rule {
            id: $id, summary: $summary, url: $page, experimental: $experimental, own: $own,
        };)*
        /// Every rule: BuildKit's 22, then rbuild's own.
        pub const RULES: &[&Rule] = &[$($name),*];
    };
}

macro_rules! page {
    ($name:literal) => {
        Some(concat!("https://docs.docker.com/go/dockerfile/rule/", $name, "/"))
    };
}

rules! {
    STAGE_NAME_CASING "StageNameCasing" page!("stage-name-casing"), false false
        "stage names are written in small letters";
    FROM_AS_CASING "FromAsCasing" page!("from-as-casing"), false false
        "`AS` has the case of its `FROM`";
    NO_EMPTY_CONTINUATION "NoEmptyContinuation" page!("no-empty-continuation"), false false
        "no blank line stands within an instruction";
    CONSISTENT_INSTRUCTION_CASING "ConsistentInstructionCasing" page!("consistent-instruction-casing"), false false
        "all instructions are in capitals, or none";
    DUPLICATE_STAGE_NAME "DuplicateStageName" page!("duplicate-stage-name"), false false
        "every stage has a name of its own";
    RESERVED_STAGE_NAME "ReservedStageName" page!("reserved-stage-name"), false false
        "no stage is called `scratch` or `context`";
    JSON_ARGS_RECOMMENDED "JSONArgsRecommended" page!("json-args-recommended"), false false
        "CMD and ENTRYPOINT are JSON arrays, so that signals reach the program";
    MAINTAINER_DEPRECATED "MaintainerDeprecated" page!("maintainer-deprecated"), false false
        "a label names the author, not MAINTAINER";
    UNDEFINED_ARG_IN_FROM "UndefinedArgInFrom" page!("undefined-arg-in-from"), false false
        "FROM uses arguments that are declared above the first FROM";
    WORKDIR_RELATIVE_PATH "WorkdirRelativePath" page!("workdir-relative-path"), false false
        "the first WORKDIR is absolute";
    UNDEFINED_VAR "UndefinedVar" page!("undefined-var"), false false
        "variables are set before they are used";
    MULTIPLE_INSTRUCTIONS_DISALLOWED "MultipleInstructionsDisallowed" page!("multiple-instructions-disallowed"), false false
        "a stage has one CMD, one ENTRYPOINT and one HEALTHCHECK";
    LEGACY_KEY_VALUE_FORMAT "LegacyKeyValueFormat" page!("legacy-key-value-format"), false false
        "ENV and LABEL are written `key=value`";
    INVALID_BASE_IMAGE_PLATFORM "InvalidBaseImagePlatform" None, false false
        "the base image is for the platform that is built";
    REDUNDANT_TARGET_PLATFORM "RedundantTargetPlatform" page!("redundant-target-platform"), false false
        "`--platform=$TARGETPLATFORM` is the default and says nothing";
    SECRETS_USED_IN_ARG_OR_ENV "SecretsUsedInArgOrEnv" page!("secrets-used-in-arg-or-env"), false false
        "secrets are mounted and not put in ARG or ENV, which stay in the image";
    INVALID_DEFAULT_ARG_IN_FROM "InvalidDefaultArgInFrom" page!("invalid-default-arg-in-from"), false false
        "without build arguments every FROM still names an image";
    FROM_PLATFORM_FLAG_CONST_DISALLOWED "FromPlatformFlagConstDisallowed" page!("from-platform-flag-const-disallowed"), false false
        "`FROM --platform` is a variable";
    COPY_IGNORED_FILE "CopyIgnoredFile" page!("copy-ignored-file"), false false
        "what is copied is not ignored by .dockerignore";
    INVALID_DEFINITION_DESCRIPTION "InvalidDefinitionDescription" page!("invalid-definition-description"), true false
        "a comment above ARG or FROM starts with the name that it describes";
    EXPOSE_PROTO_CASING "ExposeProtoCasing" page!("expose-proto-casing"), false false
        "the protocol in EXPOSE is written in small letters";
    EXPOSE_INVALID_FORMAT "ExposeInvalidFormat" page!("expose-invalid-format"), false false
        "EXPOSE names ports of the container and nothing of the host";
    HEREDOC_WITHOUT_ERREXIT "HeredocWithoutErrexit" None, false true
        "a heredoc script stops at its first failing command";
    APT_GET_UPDATE_ALONE "AptGetUpdateAlone" None, false true
        "`apt-get update` is in the RUN that installs, or its lists are cached and grow old";
    MOUNT_SHADOWS_FILES "MountShadowsFiles" None, false true
        "no mount hides files that the stage copied before";
    ARG_BREAKS_CACHE_EARLY "ArgBreaksCacheEarly" None, false true
        "an ARG stands below the RUN steps that do not use it";
    UNPINNED_BASE_IMAGE "UnpinnedBaseImage" None, false true
        "a base image has a version";
}
