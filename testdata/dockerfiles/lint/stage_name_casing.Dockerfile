FROM a:1 AS Base
FROM a:1 AS base2
FROM Base AS x
