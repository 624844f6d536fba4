-- Signing secrets that were moved or made meanwhile are lost: they can not be decrypted here.
DROP TABLE signing_secrets;
