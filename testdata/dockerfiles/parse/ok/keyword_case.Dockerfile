from scratch
run a
Copy a b
eXpose 1
