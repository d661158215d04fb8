FROM a:1
run x
