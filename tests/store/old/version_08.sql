-- Schema version 8, as commit e2e34a1c wrote it. Never to be changed.
BEGIN TRANSACTION;
CREATE TABLE "background_jobs" ("id" INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, "class_name" VARCHAR(255) NOT NULL, "method_name" VARCHAR(255) NOT NULL, "parameters" TEXT NOT NULL, "status" VARCHAR(255) NOT NULL, "retry_count" INTEGER NOT NULL, "max_retries" INTEGER NOT NULL, "retry_delay" REAL NOT NULL, "backoff" VARCHAR(255) NOT NULL, "max_retry_delay" REAL NOT NULL, "queue" VARCHAR(255) NOT NULL, "priority" INTEGER NOT NULL, "timeout" REAL, "scheduled_at" VARCHAR(255), "started_at" VARCHAR(255), "finished_at" VARCHAR(255), "created_at" VARCHAR(255) NOT NULL, "updated_at" VARCHAR(255) NOT NULL, "cancel_requested_at" VARCHAR(255), "idempotency_key" VARCHAR(255), "result" TEXT, "error" TEXT, "submitted_uid" INTEGER, "submitted_gid" INTEGER, "submitted_pid" INTEGER, "ready" INTEGER NOT NULL, "request_digest" VARCHAR(255), "sensitive" TEXT, "crashes" INTEGER NOT NULL DEFAULT 0, "submitted_by_job" INTEGER);
INSERT INTO "background_jobs" VALUES(1,'jobs.Example','work','{"to":"user@example.com"}','completed',0,3,5.0,'constant',3600.0,'default',0,NULL,NULL,'2026-11-29T03:20:13.771171Z','2026-11-29T03:20:13.955865Z','2026-11-29T03:20:13.771171Z','2026-11-29T03:20:14.015996Z',NULL,'done','{"sent":"user@example.com"}',NULL,0,0,1524488,1,'3e06ce13f425279d9ec2c75047fcef2c',NULL,0,NULL);
INSERT INTO "background_jobs" VALUES(2,'jobs.Example','fail','{"message":"no"}','failed',0,0,5.0,'constant',3600.0,'default',0,NULL,NULL,'2026-11-29T03:20:17.036738Z','2026-11-29T03:20:17.169235Z','2026-11-29T03:20:17.036738Z','2026-11-29T03:20:17.246451Z',NULL,'18ec65ec4aa24717-3128e4108ff5549c839af3d3ea00981a',NULL,'ValueError: no',0,0,1524577,1,'=db73b134d54a61b14617c25a61387057',NULL,0,NULL);
INSERT INTO "background_jobs" VALUES(3,'jobs.Example','fail','{"message":"again"}','pending',1,3,36000.0,'constant',3600.0,'default',0,NULL,'2026-11-29T13:20:18.818247Z','2026-11-29T03:20:18.722238Z',NULL,'2026-11-29T03:20:18.722238Z','2026-11-29T03:20:18.818247Z',NULL,'18ec65ecb33aeb2f-730cc52939991d4a4918478b7154898d',NULL,'ValueError: again',0,0,1524679,0,'=28827d6b8c8b60041ef3a5415fb9634d',NULL,0,NULL);
INSERT INTO "background_jobs" VALUES(4,'jobs.Example','work','{}','pending',0,3,5.0,'constant',3600.0,'default',0,NULL,'2026-11-29T13:20:20.212203Z',NULL,NULL,'2026-11-29T03:20:20.218971Z','2026-11-29T03:20:20.218971Z',NULL,'18ec65ed0b3b0665-47f653a67e51092c00c62a740fdcdcf5',NULL,NULL,0,0,1524710,0,'=d939294671382e9877870cda3ad7070a',NULL,0,NULL);
INSERT INTO "background_jobs" VALUES(5,'jobs.Example','work','{}','pending',0,3,5.0,'constant',3600.0,'held',5,NULL,NULL,NULL,NULL,'2026-11-29T03:20:23.329548Z','2026-11-29T03:20:23.329548Z',NULL,'18ec65edc4776322-2776130f19bac751f52d339eccbda115',NULL,NULL,0,0,1524785,1,'=cb5ca89fbfdffe3934accc069ed6df0a',NULL,0,NULL);
INSERT INTO "background_jobs" VALUES(6,'jobs.Example','work','{}','cancelled',0,3,5.0,'constant',3600.0,'default',0,NULL,'2026-11-29T12:20:25.125909Z',NULL,'2026-11-29T03:20:26.868113Z','2026-11-29T03:20:25.150980Z','2026-11-29T03:20:26.868113Z','2026-11-29T03:20:26.868113Z','18ec65ee2f53d281-7dc60b05fe0843884f80fd093c233d19',NULL,NULL,0,0,1524811,0,'=5c1f5720a617aadcdfaf9c137da05b0b',NULL,0,NULL);
INSERT INTO "background_jobs" VALUES(7,'jobs.Example','wait','{}','running',0,3,5.0,'constant',3600.0,'default',0,NULL,NULL,'2026-11-29T03:20:28.527036Z',NULL,'2026-11-29T03:20:28.527036Z','2026-11-29T03:20:28.527036Z',NULL,'18ec65eefa7417a5-a144624a9e9edcf943d7e07866190013',NULL,NULL,0,0,1524866,1,'=054dcaffd6982008782a73f0ceec7837',NULL,0,NULL);
INSERT INTO "background_jobs" VALUES(8,'jobs.Example','ignore','{}','running',0,3,5.0,'constant',3600.0,'default',0,NULL,NULL,'2026-11-29T03:20:30.449079Z',NULL,'2026-11-29T03:20:30.449079Z','2026-11-29T03:20:31.949078Z','2026-11-29T03:20:31.949078Z','18ec65ef6d0000e3-cf575b9e1c0399d6f2ad65bd8cf36581',NULL,NULL,0,0,1524909,1,'=054dcaffd6982008782a73f0ceec7837',NULL,0,NULL);
CREATE TABLE "job_attempts" ("job_id" INTEGER NOT NULL, "number" INTEGER NOT NULL, "token" VARCHAR(255) NOT NULL, "boot_id" VARCHAR(255) NOT NULL, "pid" INTEGER, "started_at" VARCHAR(255), "finished_at" VARCHAR(255), "outcome" VARCHAR(255), "exit_code" INTEGER, "signal" INTEGER, "error_type" TEXT, "error_message" TEXT, "traceback" TEXT, "max_rss" INTEGER, "cpu_user" REAL, "cpu_system" REAL, "output_bytes" INTEGER, "code_version" VARCHAR(255), "progress" TEXT, "noted" INTEGER NOT NULL DEFAULT 0, "spends_retry" INTEGER NOT NULL DEFAULT 1, "error_class" TEXT, PRIMARY KEY ("job_id", "number")) WITHOUT ROWID;
INSERT INTO "job_attempts" VALUES(1,1,'adf64d280ead3bea','1df388ec-d432-41b4-9c12-5c687383d3a6',1524546,'2026-11-29T03:20:13.940921Z','2026-11-29T03:20:13.955865Z','completed',0,NULL,NULL,NULL,NULL,13705216,0.0,4.66899999999999953e-03,0,'87cd37a69847',NULL,0,1,NULL);
INSERT INTO "job_attempts" VALUES(2,1,'6beaedaecbf05c3f','1df388ec-d432-41b4-9c12-5c687383d3a6',1524565,'2026-11-29T03:20:17.118588Z','2026-11-29T03:20:17.169235Z','failed',1,NULL,'ValueError','no','Traceback (most recent call last):
  File "/srv/app/jobs.py", line 13, in fail
    raise ValueError(message)
ValueError: no
',13991936,0.010005,0.0,0,'87cd37a69847',NULL,0,1,'builtins.ValueError');
INSERT INTO "job_attempts" VALUES(3,1,'250f224f27faa23f','1df388ec-d432-41b4-9c12-5c687383d3a6',1524672,'2026-11-29T03:20:18.751716Z','2026-11-29T03:20:18.788751Z','failed',1,NULL,'ValueError','again','Traceback (most recent call last):
  File "/srv/app/jobs.py", line 13, in fail
    raise ValueError(message)
ValueError: again
',13991936,0.009393,0.0,0,'87cd37a69847',NULL,0,1,'builtins.ValueError');
INSERT INTO "job_attempts" VALUES(7,1,'dc9858f82384e368','1df388ec-d432-41b4-9c12-5c687383d3a6',1524708,'2026-11-29T03:20:28.561411Z',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'87cd37a69847',NULL,0,1,NULL);
INSERT INTO "job_attempts" VALUES(8,1,'7bee68f0727628f6','1df388ec-d432-41b4-9c12-5c687383d3a6',1524545,'2026-11-29T03:20:30.557780Z',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'87cd37a69847',NULL,0,1,NULL);
CREATE TABLE "job_logs" ("id" INTEGER NOT NULL PRIMARY KEY, "job_id" INTEGER NOT NULL, "attempt" INTEGER, "type" VARCHAR(255) NOT NULL, "message" TEXT NOT NULL, "context" TEXT, "created_at" VARCHAR(255) NOT NULL, "folded" TEXT, "attempts_allowed" INTEGER);
INSERT INTO "job_logs" VALUES(1,1,NULL,'success','Background job initiated','{"id":1,"class_name":"jobs.Example","method_name":"work","status":"pending","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{"to":"user@example.com"}}','2026-11-29T03:20:13.771171Z',NULL,NULL);
INSERT INTO "job_logs" VALUES(2,1,1,'success','Background job dispatched on Linux platform',NULL,'2026-11-29T03:20:13.771171Z',NULL,4);
INSERT INTO "job_logs" VALUES(3,1,1,'success','Background job started','{"id":1,"class_name":"jobs.Example","method_name":"work","status":"running","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{"to":"user@example.com"}}','2026-11-29T03:20:14.015996Z',NULL,4);
INSERT INTO "job_logs" VALUES(4,1,1,'success','Background job completed processing',NULL,'2026-11-29T03:20:14.015996Z',NULL,4);
INSERT INTO "job_logs" VALUES(5,2,NULL,'success','Background job initiated','{"id":2,"class_name":"jobs.Example","method_name":"fail","status":"pending","retry_count":0,"max_retries":0,"queue":"default","priority":0,"parameters":{"message":"no"}}','2026-11-29T03:20:17.036738Z',NULL,NULL);
INSERT INTO "job_logs" VALUES(6,2,1,'success','Background job dispatched on Linux platform',NULL,'2026-11-29T03:20:17.036738Z',NULL,1);
INSERT INTO "job_logs" VALUES(7,2,1,'success','Background job started','{"id":2,"class_name":"jobs.Example","method_name":"fail","status":"running","retry_count":0,"max_retries":0,"queue":"default","priority":0,"parameters":{"message":"no"}}','2026-11-29T03:20:17.246451Z',NULL,1);
INSERT INTO "job_logs" VALUES(8,2,1,'failure','ValueError: no (attempt 1 of 1)',NULL,'2026-11-29T03:20:17.246451Z',NULL,1);
INSERT INTO "job_logs" VALUES(9,3,NULL,'success','Background job initiated','{"id":3,"class_name":"jobs.Example","method_name":"fail","status":"pending","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{"message":"again"}}','2026-11-29T03:20:18.722238Z',NULL,NULL);
INSERT INTO "job_logs" VALUES(10,3,1,'success','Background job dispatched on Linux platform',NULL,'2026-11-29T03:20:18.722238Z',NULL,4);
INSERT INTO "job_logs" VALUES(11,3,1,'success','Background job started','{"id":3,"class_name":"jobs.Example","method_name":"fail","status":"running","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{"message":"again"}}','2026-11-29T03:20:18.818247Z',NULL,4);
INSERT INTO "job_logs" VALUES(12,3,1,'failure','ValueError: again (attempt 1 of 4, next at 13:20:18)',NULL,'2026-11-29T03:20:18.818247Z',NULL,4);
INSERT INTO "job_logs" VALUES(13,3,1,'info','Background job waits for retry 1 of 3 at 13:20:18',NULL,'2026-11-29T03:20:18.818247Z',NULL,4);
INSERT INTO "job_logs" VALUES(14,4,NULL,'success','Background job initiated','{"id":4,"class_name":"jobs.Example","method_name":"work","status":"pending","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{}}','2026-11-29T03:20:20.218971Z',NULL,NULL);
INSERT INTO "job_logs" VALUES(15,5,NULL,'success','Background job initiated','{"id":5,"class_name":"jobs.Example","method_name":"work","status":"pending","retry_count":0,"max_retries":3,"queue":"held","priority":5,"parameters":{}}','2026-11-29T03:20:23.329548Z',NULL,NULL);
INSERT INTO "job_logs" VALUES(16,6,NULL,'success','Background job initiated','{"id":6,"class_name":"jobs.Example","method_name":"work","status":"pending","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{}}','2026-11-29T03:20:25.150980Z',NULL,NULL);
INSERT INTO "job_logs" VALUES(17,6,NULL,'info','Background job cancelled',NULL,'2026-11-29T03:20:26.868113Z',NULL,NULL);
INSERT INTO "job_logs" VALUES(18,7,NULL,'success','Background job initiated','{"id":7,"class_name":"jobs.Example","method_name":"wait","status":"pending","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{}}','2026-11-29T03:20:28.527036Z',NULL,NULL);
INSERT INTO "job_logs" VALUES(19,7,1,'success','Background job dispatched on Linux platform',NULL,'2026-11-29T03:20:28.527036Z',NULL,4);
INSERT INTO "job_logs" VALUES(20,7,1,'success','Background job started','{"id":7,"class_name":"jobs.Example","method_name":"wait","status":"running","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{}}','2026-11-29T03:20:28.677163Z',NULL,4);
INSERT INTO "job_logs" VALUES(21,8,NULL,'success','Background job initiated','{"id":8,"class_name":"jobs.Example","method_name":"ignore","status":"pending","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{}}','2026-11-29T03:20:30.449079Z',NULL,NULL);
INSERT INTO "job_logs" VALUES(22,8,1,'success','Background job dispatched on Linux platform',NULL,'2026-11-29T03:20:30.449079Z',NULL,4);
INSERT INTO "job_logs" VALUES(23,8,1,'success','Background job started','{"id":8,"class_name":"jobs.Example","method_name":"ignore","status":"running","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{}}','2026-11-29T03:20:30.652416Z',NULL,4);
INSERT INTO "job_logs" VALUES(24,8,1,'info','Background job cancel requested',NULL,'2026-11-29T03:20:31.949078Z',NULL,4);
CREATE TABLE "properties" ("name" VARCHAR(255) NOT NULL PRIMARY KEY, "value" TEXT NOT NULL);
INSERT INTO "properties" VALUES('database_id','44491089-6f86-41fc-a664-75f90f7af8f7');
CREATE TABLE "queues" ("name" VARCHAR(255) NOT NULL PRIMARY KEY, "paused_at" VARCHAR(255) NOT NULL);
INSERT INTO "queues" VALUES('held','2026-11-29T03:20:21.661828Z');
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
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('background_jobs',8);
COMMIT;
PRAGMA user_version = 8;
