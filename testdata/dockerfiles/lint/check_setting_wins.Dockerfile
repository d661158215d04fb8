#check=skip=all
FROM a as base
