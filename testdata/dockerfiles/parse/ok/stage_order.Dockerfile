FROM a AS one
RUN 1
FROM b
RUN 2
FROM one AS three
