FROM scratch
ARG SECRET_PASSPHRASE
ENV SUPER_Secret=foo password=a
ARG auth=bar PUBLIC_KEY token_FILE AUTH_VERSION keys
ENV ${x:-API}_KEY=1 apikey=2 my_apikeys=3
# check=skip=SecretsUsedInArgOrEnv
ENV password=bar
# check=skip=all // only here
ARG password
ARG git_key
