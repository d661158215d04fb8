ARG X
FROM $X AS a
FROM "quoted" AS b
