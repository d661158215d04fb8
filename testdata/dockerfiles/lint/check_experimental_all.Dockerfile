#check=experimental=all
# no
FROM a:1 AS b
