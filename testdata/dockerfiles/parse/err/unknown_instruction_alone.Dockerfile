FROM scratch
\