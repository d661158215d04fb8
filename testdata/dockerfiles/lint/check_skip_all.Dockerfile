#check=skip=all
FROM a as Base
copy a b
