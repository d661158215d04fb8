FROM scratch
COPY Dockerfile .
COPY x .
