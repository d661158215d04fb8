FROM a AS 1a
FROM a AS b$c
FROM a AS _x
FROM a AS ü
