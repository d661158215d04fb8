FROM a:1 \

  AS b
