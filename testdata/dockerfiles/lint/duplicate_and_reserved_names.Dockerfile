FROM a:1 AS x
FROM a:1 AS X
FROM a:1 AS scratch
FROM a:1 AS context
