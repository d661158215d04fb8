FROM a:1
copy a b
COPY a b
Run x
