FROM scratch
ENV a=1 b="2 3" c='4' d=\ e f=
ENV old value with  "space" 
ENV a.b=1 "q r"=2 's'=3
ENV k=v=w
ENV PATH=/x:$PATH
