FROM scratch
MAINTAINER A "B" <c@d>
