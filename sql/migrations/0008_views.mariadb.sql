-- Revision 0008 on mariadb: views, the role worker, and what a command changed. The views stand in sql/views.

ALTER TABLE ms_principal DROP CONSTRAINT ck_ms_principal_role;

ALTER TABLE ms_principal ADD CONSTRAINT ck_ms_principal_known_role CHECK (role IN ('viewer', 'worker', 'operator', 'author', 'admin'));

ALTER TABLE ms_token DROP CONSTRAINT ck_ms_token_role;

ALTER TABLE ms_token ADD CONSTRAINT ck_ms_token_known_role CHECK (role IN ('viewer', 'worker', 'operator', 'author', 'admin'));

ALTER TABLE kr_command ADD COLUMN changes MEDIUMTEXT CHARACTER SET utf8mb4;
