ARG A
ARG B=1 C="2 3" D= E='x y'
FROM scratch
ARG F=$B G=a\ b
