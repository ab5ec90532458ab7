-- Answers ok where the data are of this program's version; what stands before every script has looked.
return 'ok'
