   FROM scratch
	 RUN a
  COPY b c  
