-- Schema version 10, as commit 66431271^ wrote it. Never to be changed.
BEGIN TRANSACTION;
CREATE TABLE "background_jobs" ("id" INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, "class_name" VARCHAR(255) NOT NULL, "method_name" VARCHAR(255) NOT NULL, "parameters" TEXT NOT NULL, "status" VARCHAR(255) NOT NULL, "retry_count" INTEGER NOT NULL, "max_retries" INTEGER NOT NULL, "retry_delay" REAL NOT NULL, "backoff" VARCHAR(255) NOT NULL, "max_retry_delay" REAL NOT NULL, "queue" VARCHAR(255) NOT NULL, "priority" INTEGER NOT NULL, "timeout" REAL, "scheduled_at" VARCHAR(255), "started_at" VARCHAR(255), "finished_at" VARCHAR(255), "created_at" VARCHAR(255) NOT NULL, "updated_at" VARCHAR(255) NOT NULL, "cancel_requested_at" VARCHAR(255), "idempotency_key" VARCHAR(255), "result" TEXT, "error" TEXT, "submitted_uid" INTEGER, "submitted_gid" INTEGER, "submitted_pid" INTEGER, "ready" INTEGER NOT NULL, "request_digest" VARCHAR(255), "sensitive" TEXT, "crashes" INTEGER NOT NULL DEFAULT 0, "submitted_by_job" INTEGER, "schedule" VARCHAR(255), "occurrence" VARCHAR(255), "waits_for" INTEGER NOT NULL DEFAULT 0, "failed_before" INTEGER NOT NULL DEFAULT 0, "if_failed" VARCHAR(255), "cancelled_after" VARCHAR(255), "group_id" INTEGER, "takes" TEXT);
INSERT INTO "background_jobs" VALUES(1,'jobs.Example','work','{"to":"user@example.com"}','completed',0,3,5.0,'constant',3600.0,'default',0,NULL,NULL,'2026-11-29T03:46:13.750253Z','2026-11-29T03:46:13.823856Z','2026-11-29T03:46:13.750253Z','2026-11-29T03:46:13.913671Z',NULL,'done','{"sent":"user@example.com"}',NULL,0,0,1578552,1,'3e06ce13f425279d9ec2c75047fcef2c',NULL,0,NULL,NULL,NULL,0,0,NULL,NULL,NULL,NULL);
INSERT INTO "background_jobs" VALUES(2,'jobs.Example','fail','{"message":"no"}','failed',0,0,5.0,'constant',3600.0,'default',0,NULL,NULL,'2026-11-29T03:46:21.186696Z','2026-11-29T03:46:21.320587Z','2026-11-29T03:46:21.186696Z','2026-11-29T03:46:21.417822Z',NULL,'18ec67587b4e3e71-f969a313d6fc0a5bc9627ad5dfa693fc',NULL,'ValueError: no',0,0,1578724,1,'=db73b134d54a61b14617c25a61387057',NULL,0,NULL,NULL,NULL,0,0,NULL,NULL,NULL,NULL);
INSERT INTO "background_jobs" VALUES(3,'jobs.Example','fail','{"message":"again"}','pending',1,3,36000.0,'constant',3600.0,'default',0,NULL,'2026-11-29T13:46:27.105182Z','2026-11-29T03:46:26.634034Z',NULL,'2026-11-29T03:46:26.634034Z','2026-11-29T03:46:27.105182Z',NULL,'18ec6759bb3370d1-db7196a5d6090718a6a6abbb090ec8b0',NULL,'ValueError: again',0,0,1578890,0,'=28827d6b8c8b60041ef3a5415fb9634d',NULL,0,NULL,NULL,NULL,0,0,NULL,NULL,NULL,NULL);
INSERT INTO "background_jobs" VALUES(4,'jobs.Example','work','{}','pending',0,3,5.0,'constant',3600.0,'default',0,NULL,'2026-11-29T13:46:32.318470Z',NULL,NULL,'2026-11-29T03:46:32.318716Z','2026-11-29T03:46:32.318716Z',NULL,'18ec675b1266900c-11c7ee6b6a0def0616f80316ebbe625f',NULL,NULL,0,0,1579033,0,'=d939294671382e9877870cda3ad7070a',NULL,0,NULL,NULL,NULL,0,0,NULL,NULL,NULL,NULL);
INSERT INTO "background_jobs" VALUES(5,'jobs.Example','work','{}','pending',0,3,5.0,'constant',3600.0,'held',5,NULL,NULL,NULL,NULL,'2026-11-29T03:46:41.808874Z','2026-11-29T03:46:41.808874Z',NULL,'18ec675d465ac640-4da907d26f226e7bdb22addc431a100a',NULL,NULL,0,0,1579382,1,'=cb5ca89fbfdffe3934accc069ed6df0a',NULL,0,NULL,NULL,NULL,0,0,NULL,NULL,NULL,NULL);
INSERT INTO "background_jobs" VALUES(6,'jobs.Example','work','{}','cancelled',0,3,5.0,'constant',3600.0,'default',0,NULL,'2026-11-29T12:46:47.323317Z',NULL,'2026-11-29T03:46:51.745090Z','2026-11-29T03:46:47.334784Z','2026-11-29T03:46:51.745090Z','2026-11-29T03:46:51.745090Z','18ec675e91ac8898-0c63ee32170b974a08e26306e0ed534e',NULL,NULL,0,0,1579586,0,'=5c1f5720a617aadcdfaf9c137da05b0b',NULL,0,NULL,NULL,NULL,0,0,NULL,NULL,NULL,NULL);
INSERT INTO "background_jobs" VALUES(7,'jobs.Example','wait','{}','running',0,3,5.0,'constant',3600.0,'default',0,NULL,NULL,'2026-11-29T03:46:58.017359Z',NULL,'2026-11-29T03:46:58.017359Z','2026-11-29T03:46:58.017359Z',NULL,'18ec67610bd4e47d-ce4c5d3bd09998bf000c6f175a83bfbe',NULL,NULL,0,0,1579998,1,'=054dcaffd6982008782a73f0ceec7837',NULL,0,NULL,NULL,NULL,0,0,NULL,NULL,NULL,NULL);
INSERT INTO "background_jobs" VALUES(8,'jobs.Example','ignore','{}','running',0,3,5.0,'constant',3600.0,'default',0,NULL,NULL,'2026-11-29T03:47:03.353090Z',NULL,'2026-11-29T03:47:03.353090Z','2026-11-29T03:47:14.737710Z','2026-11-29T03:47:14.737710Z','18ec67624be477a3-957f7616936112c0f7eb3589db2cc64f',NULL,NULL,0,0,1580188,1,'=054dcaffd6982008782a73f0ceec7837',NULL,0,NULL,NULL,NULL,0,0,NULL,NULL,NULL,NULL);
INSERT INTO "background_jobs" VALUES(9,'jobs.Example','work','{}','pending',0,3,5.0,'constant',3600.0,'default',0,NULL,NULL,NULL,NULL,'2026-11-29T03:47:09.665065Z','2026-11-29T03:47:09.665065Z',NULL,'18ec6763c06dbb1d-94a56776c97ff7b668f7adb7ce5f9952',NULL,NULL,0,0,1580421,2,'=50dc7ffd37ace2cac67cf70a76930690',NULL,0,NULL,NULL,NULL,1,0,'cancel',NULL,NULL,NULL);
CREATE TABLE "consequences" ("of" VARCHAR(255) NOT NULL, "id" INTEGER NOT NULL, "done_to" INTEGER NOT NULL, PRIMARY KEY ("of", "id")) WITHOUT ROWID;
CREATE TABLE "job_attempts" ("job_id" INTEGER NOT NULL, "number" INTEGER NOT NULL, "token" VARCHAR(255) NOT NULL, "boot_id" VARCHAR(255) NOT NULL, "pid" INTEGER, "started_at" VARCHAR(255), "finished_at" VARCHAR(255), "outcome" VARCHAR(255), "exit_code" INTEGER, "signal" INTEGER, "error_type" TEXT, "error_message" TEXT, "traceback" TEXT, "max_rss" INTEGER, "cpu_user" REAL, "cpu_system" REAL, "output_bytes" INTEGER, "code_version" VARCHAR(255), "progress" TEXT, "noted" INTEGER NOT NULL DEFAULT 0, "spends_retry" INTEGER NOT NULL DEFAULT 1, "error_class" TEXT, PRIMARY KEY ("job_id", "number")) WITHOUT ROWID;
INSERT INTO "job_attempts" VALUES(1,1,'fc3a461df9f5a91e','1df388ec-d432-41b4-9c12-5c687383d3a6',1578652,'2026-11-29T03:46:13.810632Z','2026-11-29T03:46:13.823856Z','completed',0,NULL,NULL,NULL,NULL,14426112,0.003351,0.003351,0,'c42e74dc80dc',NULL,0,1,NULL);
INSERT INTO "job_attempts" VALUES(2,1,'c784250897741c4e','1df388ec-d432-41b4-9c12-5c687383d3a6',1578702,'2026-11-29T03:46:21.258451Z','2026-11-29T03:46:21.320587Z','failed',1,NULL,'ValueError','no','Traceback (most recent call last):
  File "/srv/app/jobs.py", line 13, in fail
    raise ValueError(message)
ValueError: no
',14761984,0.009348,0.003116,0,'c42e74dc80dc',NULL,0,1,'builtins.ValueError');
INSERT INTO "job_attempts" VALUES(3,1,'62726aaf6fe8437a','1df388ec-d432-41b4-9c12-5c687383d3a6',1578873,'2026-11-29T03:46:26.766968Z','2026-11-29T03:46:26.890688Z','failed',1,NULL,'ValueError','again','Traceback (most recent call last):
  File "/srv/app/jobs.py", line 13, in fail
    raise ValueError(message)
ValueError: again
',14630912,1.29089999999999986e-02,0.002581,0,'c42e74dc80dc',NULL,0,1,'builtins.ValueError');
INSERT INTO "job_attempts" VALUES(7,1,'97019a6dca3aab5f','1df388ec-d432-41b4-9c12-5c687383d3a6',1579019,'2026-11-29T03:46:58.165876Z',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'c42e74dc80dc',NULL,0,1,NULL);
INSERT INTO "job_attempts" VALUES(8,1,'044041ec73598675','1df388ec-d432-41b4-9c12-5c687383d3a6',1578648,'2026-11-29T03:47:03.483392Z',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'c42e74dc80dc',NULL,0,1,NULL);
CREATE TABLE "job_dependencies" ("job_id" INTEGER NOT NULL, "of" VARCHAR(255) NOT NULL, "after_id" INTEGER NOT NULL, "standing" INTEGER NOT NULL, PRIMARY KEY ("job_id", "of", "after_id")) WITHOUT ROWID;
INSERT INTO "job_dependencies" VALUES(9,'job',7,0);
CREATE TABLE "job_groups" ("id" INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, "name" VARCHAR(255), "since_id" INTEGER NOT NULL, "group_id" INTEGER, "total" INTEGER NOT NULL, "unfinished" INTEGER NOT NULL, "completed" INTEGER NOT NULL, "failed" INTEGER NOT NULL, "cancelled" INTEGER NOT NULL, "sealed_at" VARCHAR(255), "ended_at" VARCHAR(255), "cancel_requested_at" VARCHAR(255), "created_at" VARCHAR(255) NOT NULL, "idempotency_key" VARCHAR(255), "submitted_uid" INTEGER);
CREATE TABLE "job_logs" ("id" INTEGER NOT NULL PRIMARY KEY, "job_id" INTEGER NOT NULL, "attempt" INTEGER, "type" VARCHAR(255) NOT NULL, "message" TEXT NOT NULL, "context" TEXT, "created_at" VARCHAR(255) NOT NULL, "folded" TEXT, "attempts_allowed" INTEGER);
INSERT INTO "job_logs" VALUES(1,1,NULL,'success','Background job initiated','{"id":1,"class_name":"jobs.Example","method_name":"work","status":"pending","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{"to":"user@example.com"}}','2026-11-29T03:46:13.750253Z',NULL,NULL);
INSERT INTO "job_logs" VALUES(2,1,1,'success','Background job dispatched on Linux platform',NULL,'2026-11-29T03:46:13.750253Z',NULL,4);
INSERT INTO "job_logs" VALUES(3,1,1,'success','Background job started','{"id":1,"class_name":"jobs.Example","method_name":"work","status":"running","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{"to":"user@example.com"}}','2026-11-29T03:46:13.913671Z',NULL,4);
INSERT INTO "job_logs" VALUES(4,1,1,'success','Background job completed processing',NULL,'2026-11-29T03:46:13.913671Z',NULL,4);
INSERT INTO "job_logs" VALUES(5,2,NULL,'success','Background job initiated','{"id":2,"class_name":"jobs.Example","method_name":"fail","status":"pending","retry_count":0,"max_retries":0,"queue":"default","priority":0,"parameters":{"message":"no"}}','2026-11-29T03:46:21.186696Z',NULL,NULL);
INSERT INTO "job_logs" VALUES(6,2,1,'success','Background job dispatched on Linux platform',NULL,'2026-11-29T03:46:21.186696Z',NULL,1);
INSERT INTO "job_logs" VALUES(7,2,1,'success','Background job started','{"id":2,"class_name":"jobs.Example","method_name":"fail","status":"running","retry_count":0,"max_retries":0,"queue":"default","priority":0,"parameters":{"message":"no"}}','2026-11-29T03:46:21.417822Z',NULL,1);
INSERT INTO "job_logs" VALUES(8,2,1,'failure','ValueError: no (attempt 1 of 1)',NULL,'2026-11-29T03:46:21.417822Z',NULL,1);
INSERT INTO "job_logs" VALUES(9,3,NULL,'success','Background job initiated','{"id":3,"class_name":"jobs.Example","method_name":"fail","status":"pending","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{"message":"again"}}','2026-11-29T03:46:26.634034Z',NULL,NULL);
INSERT INTO "job_logs" VALUES(10,3,1,'success','Background job dispatched on Linux platform',NULL,'2026-11-29T03:46:26.634034Z',NULL,4);
INSERT INTO "job_logs" VALUES(11,3,1,'success','Background job started','{"id":3,"class_name":"jobs.Example","method_name":"fail","status":"running","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{"message":"again"}}','2026-11-29T03:46:26.913086Z',NULL,4);
INSERT INTO "job_logs" VALUES(12,3,1,'failure','ValueError: again (attempt 1 of 4, next at 13:46:27)',NULL,'2026-11-29T03:46:27.105182Z',NULL,4);
INSERT INTO "job_logs" VALUES(13,3,1,'info','Background job waits for retry 1 of 3 at 13:46:27',NULL,'2026-11-29T03:46:27.105182Z',NULL,4);
INSERT INTO "job_logs" VALUES(14,4,NULL,'success','Background job initiated','{"id":4,"class_name":"jobs.Example","method_name":"work","status":"pending","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{}}','2026-11-29T03:46:32.318716Z',NULL,NULL);
INSERT INTO "job_logs" VALUES(15,5,NULL,'success','Background job initiated','{"id":5,"class_name":"jobs.Example","method_name":"work","status":"pending","retry_count":0,"max_retries":3,"queue":"held","priority":5,"parameters":{}}','2026-11-29T03:46:41.808874Z',NULL,NULL);
INSERT INTO "job_logs" VALUES(16,6,NULL,'success','Background job initiated','{"id":6,"class_name":"jobs.Example","method_name":"work","status":"pending","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{}}','2026-11-29T03:46:47.334784Z',NULL,NULL);
INSERT INTO "job_logs" VALUES(17,6,NULL,'info','Background job cancelled',NULL,'2026-11-29T03:46:51.745090Z',NULL,NULL);
INSERT INTO "job_logs" VALUES(18,7,NULL,'success','Background job initiated','{"id":7,"class_name":"jobs.Example","method_name":"wait","status":"pending","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{}}','2026-11-29T03:46:58.017359Z',NULL,NULL);
INSERT INTO "job_logs" VALUES(19,7,1,'success','Background job dispatched on Linux platform',NULL,'2026-11-29T03:46:58.017359Z',NULL,4);
INSERT INTO "job_logs" VALUES(20,7,1,'success','Background job started','{"id":7,"class_name":"jobs.Example","method_name":"wait","status":"running","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{}}','2026-11-29T03:46:58.273069Z',NULL,4);
INSERT INTO "job_logs" VALUES(21,8,NULL,'success','Background job initiated','{"id":8,"class_name":"jobs.Example","method_name":"ignore","status":"pending","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{}}','2026-11-29T03:47:03.353090Z',NULL,NULL);
INSERT INTO "job_logs" VALUES(22,8,1,'success','Background job dispatched on Linux platform',NULL,'2026-11-29T03:47:03.353090Z',NULL,4);
INSERT INTO "job_logs" VALUES(23,8,1,'success','Background job started','{"id":8,"class_name":"jobs.Example","method_name":"ignore","status":"running","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{}}','2026-11-29T03:47:03.701812Z',NULL,4);
INSERT INTO "job_logs" VALUES(24,9,NULL,'success','Background job initiated','{"id":9,"class_name":"jobs.Example","method_name":"work","status":"pending","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{}}','2026-11-29T03:47:09.665065Z',NULL,NULL);
INSERT INTO "job_logs" VALUES(25,9,NULL,'info','Background job waits for another',NULL,'2026-11-29T03:47:09.665065Z',NULL,NULL);
INSERT INTO "job_logs" VALUES(26,8,1,'info','Background job cancel requested',NULL,'2026-11-29T03:47:14.737710Z',NULL,4);
CREATE TABLE "properties" ("name" VARCHAR(255) NOT NULL PRIMARY KEY, "value" TEXT NOT NULL);
INSERT INTO "properties" VALUES('database_id','68f80e8c-1bb8-446d-ae06-60fde225ea25');
CREATE TABLE "queues" ("name" VARCHAR(255) NOT NULL PRIMARY KEY, "paused_at" VARCHAR(255) NOT NULL);
INSERT INTO "queues" VALUES('held','2026-11-29T03:46:37.042025Z');
CREATE TABLE "schedule_occurrences" ("name" VARCHAR(255) NOT NULL, "at" VARCHAR(255) NOT NULL, "until" VARCHAR(255) NOT NULL, "count" INTEGER NOT NULL, "verdict" VARCHAR(255) NOT NULL, "reason" VARCHAR(255), "job_id" INTEGER, "dealt_at" VARCHAR(255) NOT NULL, PRIMARY KEY ("name", "at")) WITHOUT ROWID;
CREATE TABLE "schedules" ("name" VARCHAR(255) NOT NULL PRIMARY KEY, "definition" TEXT NOT NULL, "since" VARCHAR(255) NOT NULL, "cursor" VARCHAR(255) NOT NULL, "paused_at" VARCHAR(255), "removed_at" VARCHAR(255), "uid" INTEGER, "made_by" VARCHAR(255));
INSERT INTO "schedules" VALUES('nightly','{"job":"jobs.Example::work","cron":"30 2 * * *","zone":"UTC"}','2026-11-29T03:46:05.718715Z','2026-11-29T03:46:05.718715Z',NULL,NULL,NULL,NULL);
CREATE INDEX jobs_ready ON background_jobs (queue, priority DESC, id) WHERE status = 'pending' AND ready = 1;
CREATE INDEX jobs_scheduled ON background_jobs (scheduled_at) WHERE status = 'pending' AND ready = 0;
CREATE INDEX jobs_running ON background_jobs (queue) WHERE status = 'running';
CREATE UNIQUE INDEX jobs_key ON background_jobs (idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX jobs_finished ON background_jobs (status, id) WHERE finished_at IS NOT NULL;
CREATE INDEX attempts_open ON job_attempts (job_id, number) WHERE outcome IS NULL;
CREATE INDEX logs_job ON job_logs (job_id, id);
CREATE INDEX jobs_pending ON background_jobs (ready) WHERE status = 'pending' AND finished_at IS NULL;
CREATE INDEX logs_type ON job_logs (type) WHERE type <> 'success';
CREATE INDEX jobs_ended ON background_jobs (status, finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX jobs_of_class ON background_jobs (queue, class_name, priority DESC, id) WHERE status = 'pending' AND ready = 1;
CREATE INDEX jobs_of_schedule ON background_jobs (schedule, id) WHERE schedule IS NOT NULL AND finished_at IS NULL;
CREATE INDEX jobs_by_schedule ON background_jobs (schedule, id) WHERE schedule IS NOT NULL;
CREATE INDEX edges_after ON job_dependencies ("of", after_id, job_id);
CREATE INDEX jobs_of_group ON background_jobs (group_id, id) WHERE group_id IS NOT NULL;
CREATE INDEX groups_of_group ON job_groups (group_id, id) WHERE group_id IS NOT NULL;
CREATE UNIQUE INDEX groups_key ON job_groups (idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX groups_unended ON job_groups (id) WHERE ended_at IS NULL;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('background_jobs',9);
COMMIT;
PRAGMA user_version = 10;
